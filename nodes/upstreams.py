"""The servers that a device's owner attached to it, as written down in `settings.toml`.

Owns the form of that file, `<data_dir>/settings.toml`, with a table `[upstreams.NAME]` for each server. Must
not know what is done with them. No message shows a value that might be a key in the wrong place, and the
file has no place for a key itself: it may be copied, shown and backed up.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from mesh.card import Skill
from mesh.decision import Privacy
from mesh.errors import BadSetting, UnknownSkill
from mesh.upstream import (
    A_BASE_URL,
    USUAL_SILENCE_S,
    Dialect,
    Secret,
    UpstreamCard,
    UpstreamModel,
    UpstreamSettings,
)
from nodes.identity import is_device_name

SETTINGS_NAME = "settings.toml"
"""Name of the file in the data directory."""

_MAX_MODEL_NAME = 200  # characters; the longest in use are paths of a file
_MAX_SKILL = 40
_MAX_KEY_BYTES = 1 << 14
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
"""What `key_env` may hold: in capitals only, so that no key passes for a name and is shown."""

_OPTIONAL_FIELDS = ("temperature", "top_p", "seed", "stream_options")
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_KNOWN_KEYS = (
    "address",
    "key_env",
    "key_file",
    "models",
    "skills",
    "privacy",
    "context_length",
    "tokens_per_s",
    "first_token_s",
    "silence_s",
    "max_tokens_name",
    "leave_out",
)


def read_upstreams(data_dir: Path, environment: Mapping[str, str]) -> tuple[UpstreamSettings, ...]:
    """Read the attached servers, in the order of the file; none where there is no file.

    Keys come from the environment or from files of their own. Raises BadSetting with one line that names
    file, table and key, and says what to do; it never shows a key.
    """
    path = data_dir / SETTINGS_NAME
    tables = _read(path)
    for unknown in sorted(tables.keys() - {"upstreams"}):
        raise BadSetting(f"{path}: there is no table or key '{unknown[:80]}'; known is [upstreams.NAME]")
    upstreams = tables.get("upstreams", {})
    if not isinstance(upstreams, dict):
        raise BadSetting(f"{path}: 'upstreams' must hold tables; write [upstreams.NAME]")
    return tuple(_Table(path, name, content).settings(environment) for name, content in upstreams.items())


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadSetting(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are such
        raise BadSetting(f"{path} is not TOML in UTF-8: {error}") from error


class _Table:
    """One `[upstreams.NAME]`."""

    def __init__(self, path: Path, name: str, content: object) -> None:
        self._path, self._name = path, name
        if not is_device_name(name):
            raise BadSetting(
                f"{path}: {name[:80]!r} cannot name an upstream; use 1 to 63 printable characters"
            )
        if not isinstance(content, dict):
            raise BadSetting(f"{path}: '{name}' in [upstreams] must be a table; write [upstreams.{name}]")
        self._content = content

    def settings(self, environment: Mapping[str, str]) -> UpstreamSettings:
        """Read it all."""
        self._must_know_all_keys()
        card = UpstreamCard(
            name=self._name,
            models=self._models(),
            privacy=self._privacy(),
            context_length=self._count("context_length"),
            tokens_per_s=self._number("tokens_per_s", is_zero_allowed=False),
            first_token_s=self._number("first_token_s", is_zero_allowed=True),
            silence_s=self._number("silence_s", is_zero_allowed=False) or USUAL_SILENCE_S,
        )
        return self._reached(card, self._key(environment))

    def _reached(self, card: UpstreamCard, key: Secret | None) -> UpstreamSettings:
        address = self._text("address", A_BASE_URL).rstrip("/")
        dialect = Dialect(self._limit_name(), self._left_out())
        try:
            return UpstreamSettings(card, address, key, dialect)
        except BadSetting as error:
            self._fail("address", str(error))

    def _fail(self, key: str, what_to_do: str) -> NoReturn:
        raise BadSetting(f"{self._path}, [upstreams.{self._name}], {key}: {what_to_do}")

    def _must_know_all_keys(self) -> None:
        for unknown in sorted(self._content.keys() - set(_KNOWN_KEYS)):
            if unknown in ("key", "api_key", "token"):
                self._fail(
                    unknown, "put the key into a file or a variable, and name it by key_file or key_env"
                )
            self._fail(unknown[:80], f"there is no such key; known are {', '.join(_KNOWN_KEYS)}")

    def _text(self, key: str, wanted: str) -> str:
        value = self._content.get(key)
        if value is None or value == "":
            self._fail(key, f"is {'missing' if value is None else 'empty'}; write {wanted}")
        if not isinstance(value, str):
            self._fail(key, f"must be a text; write {wanted}")
        return value

    def _texts(self, key: str, value: object, max_characters: int) -> tuple[str, ...]:
        """Check a list of short texts, none twice."""
        if not isinstance(value, list) or not all(_is_short_text(text, max_characters) for text in value):
            self._fail(key, f"must be a list of texts of at most {max_characters} printable characters")
        if len(set(value)) < len(value):
            self._fail(key, "names something twice; leave one out")
        return tuple(value)

    def _models(self) -> tuple[UpstreamModel, ...]:
        remote_names = self._remote_names()
        skills = self._skills(tuple(remote_names))
        return tuple(UpstreamModel(name, remote, skills[name]) for name, remote in remote_names.items())

    def _remote_names(self) -> dict[str, str]:
        """Return each model's name there, by its name here."""
        value = self._content.get("models")
        if isinstance(value, dict):
            self._texts("models", [*value], _MAX_MODEL_NAME)
            names = {
                name: self._texts("models", [remote], _MAX_MODEL_NAME)[0] for name, remote in value.items()
            }
        else:
            names = {name: name for name in self._texts("models", value or [], _MAX_MODEL_NAME)}
        if not names:
            self._fail("models", 'name at least one, as ["NAME"] or { "NAME HERE" = "NAME THERE" }')
        return names

    def _skills(self, models: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        value = self._content.get("skills", [])
        if not isinstance(value, dict):
            return dict.fromkeys(models, self._words(value))
        for unknown in sorted(value.keys() - set(models)):
            self._fail("skills", f"'{unknown[:80]}' is none of its models: {', '.join(models)}")
        return {name: self._words(value.get(name, [])) for name in models}

    def _words(self, value: object) -> tuple[str, ...]:
        """Check a list of skills."""
        words = self._texts("skills", value, _MAX_SKILL)
        try:
            return tuple(Skill.named(word).value for word in words)
        except UnknownSkill as error:
            self._fail("skills", str(error))

    def _privacy(self) -> Privacy:
        value = self._content.get("privacy", Privacy.CLOUD.value)
        if value not in (Privacy.MESH.value, Privacy.CLOUD.value):
            self._fail("privacy", 'must be "mesh" for a server in the house, or "cloud" for one outside')
        return Privacy(value)

    def _count(self, key: str) -> int | None:
        value = self._content.get(key)
        if value is not None and (type(value) is not int or value < 1):
            self._fail(key, "must be a whole number of 1 or more")
        return value

    def _number(self, key: str, *, is_zero_allowed: bool) -> float | None:
        value = self._content.get(key)
        if value is None:
            return None
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number or value < 0 or (value == 0 and not is_zero_allowed):
            self._fail(
                key, "must be a number of 0 or more" if is_zero_allowed else "must be a number above 0"
            )
        return float(value)

    def _limit_name(self) -> str:
        value = self._content.get("max_tokens_name", _LIMIT_NAMES[0])
        if value not in _LIMIT_NAMES:
            self._fail("max_tokens_name", f"must be one of {', '.join(_LIMIT_NAMES)}")
        return str(value)

    def _left_out(self) -> frozenset[str]:
        fields = self._texts("leave_out", self._content.get("leave_out", []), _MAX_SKILL)
        if not set(fields) <= set(_OPTIONAL_FIELDS):
            self._fail("leave_out", f"may name {', '.join(_OPTIONAL_FIELDS)}, and nothing else")
        return frozenset(fields)

    def _key(self, environment: Mapping[str, str]) -> Secret | None:
        if "key_env" in self._content and "key_file" in self._content:
            self._fail("key_env and key_file", "there can be one key only; leave one of the two out")
        if "key_env" in self._content:
            return self._secret("key_env", self._variable(environment))
        if "key_file" in self._content:
            return self._secret("key_file", self._file_content())
        return None

    def _secret(self, key: str, text: str) -> Secret:
        try:
            return Secret(text.strip())
        except BadSetting as error:
            self._fail(key, f"what it names does not hold a key: {error}")

    def _variable(self, environment: Mapping[str, str]) -> str:
        name = self._text("key_env", "the name of an environment variable")
        if not _VARIABLE.fullmatch(name):
            self._fail(
                "key_env", "must be the name of an environment variable, in capitals; not the key itself"
            )
        if not environment.get(name):
            self._fail("key_env", f"the environment has no {name}; set it before the agent starts")
        return environment[name]

    def _file_content(self) -> str:
        """Read the file of the key; its name is not shown, because it may be the key by mistake."""
        path = self._path.parent / Path(self._text("key_file", "the name of a file")).expanduser()
        try:
            with path.open("rb") as file:
                return file.read(_MAX_KEY_BYTES).decode("ascii")
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no home to expand ~ by
            why = error.strerror if isinstance(error, OSError) else "it holds no key"
            hint = f"a name without a slash at its start is looked for in {self._path.parent}"
            raise BadSetting(
                f"{self._path}, [upstreams.{self._name}], key_file: cannot be read ({why}); {hint}"
            ) from None


def _is_short_text(value: object, max_characters: int) -> bool:
    return isinstance(value, str) and value.isprintable() and 1 <= len(value.strip()) <= max_characters
