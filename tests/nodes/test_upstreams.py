"""The file of settings: what it may say, and that each mistake is told in one line that shows no key."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.card import Skill
from mesh.decision import Privacy
from mesh.errors import BadSetting
from mesh.upstream import Dialect, Secret, UpstreamCard, UpstreamModel, UpstreamSettings
from nodes.upstreams import _KNOWN_KEYS, read_upstreams

KEY = "sk-live-0123456789abcdef"
GOOD = {"address": '"http://192.168.1.5:8080/v1"', "models": '["qwen3:30b"]'}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the file of settings; return its folder."""

    def call(text: str) -> Path:
        (tmp_path / "settings.toml").write_text(text)
        return tmp_path

    return call


def table(**changes: str | None) -> str:
    """One table that is right, but for the changes; None leaves a key out."""
    content = {**GOOD, **changes}
    lines = [f"{key} = {value}" for key, value in content.items() if value is not None]
    return "\n".join(["[upstreams.attic]", *lines])


def test_without_a_file_or_a_table_there_is_no_upstream(tmp_path: Path, write: Write) -> None:
    assert read_upstreams(tmp_path, {}) == ()
    assert read_upstreams(write(""), {}) == ()
    assert read_upstreams(write("[upstreams]\n"), {}) == ()


def test_little_needs_to_be_said_and_what_is_not_said_leaves_the_house(write: Write) -> None:
    (settings,) = read_upstreams(write(table()), {"HTTP_PROXY": "x"})
    card = UpstreamCard("attic", (UpstreamModel("qwen3:30b", "qwen3:30b"),), Privacy.CLOUD)
    assert settings == UpstreamSettings(card, "http://192.168.1.5:8080/v1")


def test_all_can_be_said(write: Write) -> None:
    text = """
    [upstreams.attic]
    address = "http://192.168.1.5:8080/v1/"
    models = { "qwen3:30b" = "Qwen3-30B-A3B-Q4_K_M", "qwen3:4b" = "small" }
    skills = { "qwen3:30b" = ["code", "math"] }
    privacy = "mesh"
    context_length = 32768
    tokens_per_s = 41
    first_token_s = 0
    silence_s = 120

    [upstreams."a cloud"]
    address = "https://api.example.com"
    key_env = "EXAMPLE_KEY"
    models = ["large", "small"]
    skills = ["code"]
    first_token_s = 0.8
    max_tokens_name = "max_completion_tokens"
    leave_out = ["temperature", "seed"]
    """
    attic, cloud = read_upstreams(write(text), {"EXAMPLE_KEY": f"{KEY}\n"})
    assert attic == UpstreamSettings(
        UpstreamCard(
            name="attic",
            models=(
                UpstreamModel("qwen3:30b", "Qwen3-30B-A3B-Q4_K_M", ("code", "math")),
                UpstreamModel("qwen3:4b", "small"),
            ),
            privacy=Privacy.MESH,
            context_length=32768,
            tokens_per_s=41.0,
            first_token_s=0.0,
            silence_s=120.0,
        ),
        "http://192.168.1.5:8080/v1",
    )
    models = tuple(UpstreamModel(name, name, ("code",)) for name in ("large", "small"))
    assert cloud == UpstreamSettings(
        UpstreamCard("a cloud", models, Privacy.CLOUD, first_token_s=0.8),
        "https://api.example.com",
        Secret(KEY),
        Dialect("max_completion_tokens", frozenset({"temperature", "seed"})),
    )
    assert KEY not in repr(cloud)


def test_the_example_of_the_documentation_is_read(write: Write) -> None:
    text = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    attic, gemini = read_upstreams(write(example), {"GEMINI_API_KEY": KEY})
    assert attic.card.models[0].skills == ("code", "math")
    assert gemini.key == Secret(KEY)


def test_the_documentation_names_every_skill_and_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
    assert [word for word in (*Skill, *_KNOWN_KEYS) if f"`{word}`" not in text] == []


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_key_is_read_from_a_file_beside_the_settings_or_anywhere(
    write: Write, tmp_path: Path, is_absolute: bool
) -> None:
    path = tmp_path / "keys" / "attic.key"
    path.parent.mkdir()
    path.write_text(f"{KEY}\n")
    name = str(path) if is_absolute else "keys/attic.key"
    (settings,) = read_upstreams(write(table(key_file=f'"{name}"')), {})
    assert settings.key == Secret(KEY)


@pytest.mark.parametrize(
    ("changes", "key", "hint"),
    [
        ({"address": None}, "address", "is missing"),
        ({"address": "7"}, "address", "must be a text"),
        ({"address": '"192.168.1.5:8080"'}, "address", "a URL such as http://192.168.1.5:8080/v1"),
        ({"address": '"ftp://192.168.1.5"'}, "address", "a URL such as"),
        ({"address": '"http://"'}, "address", "a URL such as"),
        ({"address": '""'}, "address", "is empty; write a URL such as http://192.168.1.5:8080/v1"),
        ({"address": '"http://house:99999/v1"'}, "address", "'99999' is no port; write a number from 1 to"),
        ({"address": '"http://house:0/v1"'}, "address", "'0' is no port"),
        ({"address": f'"http://house:{KEY}/v1"'}, "address", "what stands behind the last colon is no port"),
        (
            {"address": '"http://house:8080/v1/chat/completions/"'},
            "address",
            "/chat/completions is put behind the address, so leave it out: http://house:8080/v1",
        ),
        ({"address": f'"http://me:{KEY}@house/v1"'}, "address", "without user, password or query"),
        ({"address": f'"https://house/v1?key={KEY}"'}, "address", "without user, password or query"),
        ({"address": '"http://house/v1#a"'}, "address", "a URL such as"),
        ({"address": '"http://my house/v1"'}, "address", "a URL such as"),
        ({"models": None}, "models", "name at least one"),
        ({"models": "[]"}, "models", "name at least one"),
        ({"models": "{}"}, "models", "name at least one"),
        ({"models": '"qwen3:30b"'}, "models", "must be a list"),
        ({"models": '["a", "b", "a"]'}, "models", "names something twice"),
        ({"models": '["a", " "]'}, "models", "must be a list"),
        ({"models": '["a", 7]'}, "models", "must be a list"),
        ({"models": "{ a = 7 }"}, "models", "must be a list"),
        ({"skills": '"code"'}, "skills", "must be a list"),
        ({"skills": '["code", "german"]'}, "skills", "no skill is called 'german'; skills are chat, math, "),
        ({"skills": '{ "qwen3:30b" = ["Code"] }'}, "skills", "no skill is called 'Code'; skills are chat, "),
        ({"skills": '{ "gpt" = ["code"] }'}, "skills", "'gpt' is none of its models: qwen3:30b"),
        ({"skills": '{ "qwen3:30b" = "code" }'}, "skills", "must be a list"),
        ({"privacy": '"house"'}, "privacy", '"mesh" for a server in the house, or "cloud"'),
        ({"privacy": "true"}, "privacy", '"mesh" for a server in the house'),
        ({"context_length": "0"}, "context_length", "a whole number of 1 or more"),
        ({"context_length": "true"}, "context_length", "a whole number of 1 or more"),
        ({"context_length": "1.5"}, "context_length", "a whole number of 1 or more"),
        ({"tokens_per_s": "0"}, "tokens_per_s", "a number above 0"),
        ({"tokens_per_s": "nan"}, "tokens_per_s", "a number above 0"),
        ({"tokens_per_s": '"fast"'}, "tokens_per_s", "a number above 0"),
        ({"first_token_s": "-1"}, "first_token_s", "a number of 0 or more"),
        ({"first_token_s": "inf"}, "first_token_s", "a number of 0 or more"),
        ({"silence_s": "0"}, "silence_s", "a number above 0"),
        ({"silence_s": "inf"}, "silence_s", "a number above 0"),
        ({"max_tokens_name": '"limit"'}, "max_tokens_name", "one of max_tokens, max_completion_tokens"),
        ({"leave_out": '["model"]'}, "leave_out", "may name temperature, top_p, seed, stream_options"),
        ({"adress": '"http://house"'}, "adress", "there is no such key; known are address, "),
        ({"key": f'"{KEY}"'}, "key", "name it by key_file or key_env"),
        ({"api_key": f'"{KEY}"'}, "api_key", "name it by key_file or key_env"),
        ({"key_env": '"A"', "key_file": '"b"'}, "key_env and key_file", "leave one of the two out"),
        ({"key_env": '"NO_SUCH_KEY"'}, "key_env", "the environment has no NO_SUCH_KEY; set it"),
        ({"key_env": '"EMPTY"'}, "key_env", "the environment has no EMPTY; set it"),
        ({"key_env": f'"{KEY}"'}, "key_env", "not the key itself"),
        ({"key_env": "7"}, "key_env", "must be a text"),
        ({"key_env": '"TWO_WORDS"'}, "key_env", "does not hold a key"),
        ({"key_file": f'"{KEY}"'}, "key_file", "cannot be read (No such file or directory)"),
        ({"key_file": '"."'}, "key_file", "cannot be read (Is a directory)"),
        ({"key_file": '"settings.toml"'}, "key_file", "does not hold a key"),
        ({"key_file": '"binary"'}, "key_file", "cannot be read (it holds no key)"),
    ],
)
def test_a_mistake_is_told_with_file_table_and_key_in_one_line(
    write: Write, changes: dict[str, str | None], key: str, hint: str
) -> None:
    folder = write(table(**changes))
    (folder / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(BadSetting) as caught:
        read_upstreams(folder, {"EMPTY": "", "TWO_WORDS": f"{KEY} {KEY}"})
    said = str(caught.value)
    assert said.startswith(f"{folder / 'settings.toml'}, [upstreams.attic], {key}: ")
    assert hint in said
    assert "\n" not in said
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[upstreams", "is not TOML in UTF-8"),
        ("upstreams = 7", "write [upstreams.NAME]"),
        ("[upstreams]\nattic = 7", "write [upstreams.attic]"),
        ("[upstream.attic]", "no table or key 'upstream'; known is [upstreams.NAME]"),
        (f'[upstreams."{"x" * 64}"]', "cannot name an upstream"),
        ('[upstreams.""]', "cannot name an upstream"),
    ],
)
def test_a_mistake_of_the_whole_file_is_told_with_its_name(write: Write, text: str, hint: str) -> None:
    folder = write(text)
    with pytest.raises(BadSetting) as caught:
        read_upstreams(folder, {})
    said = str(caught.value)
    assert said.startswith(str(folder / "settings.toml"))
    assert hint in said
    assert "\n" not in said


def test_a_file_that_is_not_text_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match="is not TOML in UTF-8"):
        read_upstreams(tmp_path, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(BadSetting, match=r"cannot read .*Is a directory"):
        read_upstreams(tmp_path, {})
