"""Scenarios from files, and what is wrong with them in one line.

Owns where shipped scenarios lie and how an error reads: FILE:LINE: what is wrong and what would be right.
tomllib says what a text means, `schema` what may stand in it, `checks` what fits together; here their words
get their place.
"""

from __future__ import annotations

import os
import re
import tomllib
import typing
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from mesh.errors import BadSetting
from simulator.scenario.checks import check
from simulator.scenario.lines import line_numbers, nearest_line
from simulator.scenario.schema import Lan, Scenario, ScenarioTables, read_value
from simulator.scenario.wrong import Place, Wrong, nearest

_LARGEST_BYTES = 4 * 2**20  # no scenario is longer; somebody gave another file
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_FIELD = re.compile(r"(unknown|required) field `([^`]*)`")
_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "a text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
    "`str | array`": "a text or a list of texts",
}


def load(name_or_path: str | Path) -> Scenario:
    """Read a scenario that is shipped, by its name, or one in a file of TOML.

    Raises BadSetting with one line that says what is wrong, where, and what would be right.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and not _looks_like_path(text):
        return _shipped(text)
    path = Path(name_or_path)
    return parse(_read(path), path.name.removesuffix(".toml"), text)


def shipped() -> tuple[tuple[str, str], ...]:
    """Return name and summary of every shipped scenario, by name."""
    return tuple((name, _shipped(name).summary) for name in _shipped_names())


def parse(text: str, name: str, where: str) -> Scenario:
    """Read the text of a scenario; `where` is its file, for errors. Raises BadSetting."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{where}:{_syntax_error(error, text)}") from error
    except RecursionError as error:
        raise BadSetting(f"{where}:1: lists or tables lie too deep in each other") from error
    try:
        scenario = _convert(tables, name)
        check(scenario)
    except Wrong as wrong:
        line = nearest_line(line_numbers(text), wrong.place)
        raise BadSetting(f"{where}:{line}: {_key_said(wrong.place)}{_one_line(wrong.text)}") from wrong
    return scenario


def _looks_like_path(text: str) -> bool:
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return text.endswith(".toml") or any(separator in text for separator in separators)


@cache
def _shipped_names() -> tuple[str, ...]:
    files = resources.files("simulator").joinpath("scenarios").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _shipped(name: str) -> Scenario:
    if name not in _shipped_names():
        hint = nearest(name, _shipped_names())
        raise BadSetting(
            f"no scenario is called '{_one_line(name[:80])}'; {hint} (a file's name ends in .toml)"
        )
    file = resources.files("simulator").joinpath("scenarios", f"{name}.toml")
    return parse(file.read_text("utf-8"), name, f"{name}.toml")


def _read(path: Path) -> str:
    if path.exists() and not path.is_dir() and not path.is_file():
        raise BadSetting(f"{_one_line(str(path))} is no regular file; name a scenario's file")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except IsADirectoryError as error:
        raise BadSetting(f"{path} is a folder; name the scenario's file in it") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadSetting(f"{_one_line(str(path))} cannot be read: {_one_line(str(reason))}") from error
    if len(content) > _LARGEST_BYTES:
        raise BadSetting(f"{path} has over {_LARGEST_BYTES >> 20} MiB and is no scenario")
    try:
        return content.decode("utf-8-sig")  # some editors put a mark before the text
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadSetting(f"{path}:{line}: the file is not UTF-8; save it as UTF-8") from error


def _syntax_error(error: tomllib.TOMLDecodeError, text: str) -> str:
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
    line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
    return f"{line}: not TOML: {_one_line(str(error)[: found.start()] if found else str(error))}"


def _convert(tables: dict[str, object], name: str) -> Scenario:
    if "name" in tables:
        raise Wrong(("name",), "a scenario is named by its file; leave 'name' out")
    lans = tables.get("lans")
    if isinstance(lans, dict):  # one by one: msgspec does not say which of them is wrong
        for lan, content in lans.items():
            _convert_at(("lans", lan), content, Lan)
    _convert_at((), tables, ScenarioTables)
    return msgspec.convert({**tables, "name": name}, Scenario, dec_hook=read_value)


def _convert_at(place: Place, content: object, kind: type[msgspec.Struct]) -> None:
    try:
        msgspec.convert(content, kind, dec_hook=read_value)
    except msgspec.ValidationError as error:
        text, _, path = str(error).rpartition(" - at `$")
        inner = tuple(key or int(index) for key, index in _STEP.findall(path))
        raise _explained(place + inner, text or str(error), _type_at(kind, inner)) from error


def _explained(place: Place, text: str, kind: object) -> Wrong:
    """Say in our words what msgspec found."""
    if field := _FIELD.search(text):
        names = _field_names(kind)
        if field[1] == "unknown":
            return Wrong((*place, field[2]), f"unknown key; {nearest(field[2], names)}")
        return Wrong(place, f"the key '{field[2]}' is missing")
    if (value := re.match(r"Invalid enum value '(.*)'$", text)) and isinstance(kind, type):
        known = [str(member.value) for member in kind] if issubclass(kind, Enum) else []
        return Wrong(place, f"nothing is called '{value[1]}'; {nearest(value[1], known)}")
    for said, meant in _WORDS.items():
        text = text.replace(said, meant)
    return Wrong(place, text[:1].lower() + text[1:])


def _type_at(kind: object, place: Place) -> object:
    """Return the table or other type that stands at a place below a table."""
    for key in place:
        if isinstance(key, str) and isinstance(kind, type):
            kind = _inner(_fields(kind).get(key))
    return kind


def _field_names(kind: object) -> list[str]:
    return list(_fields(kind)) if isinstance(kind, type) else []


def _fields(kind: type) -> dict[str, object]:
    if not issubclass(kind, msgspec.Struct):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _inner(hint: object) -> object:
    """Take list, option and description from around a type."""
    while arguments := [arg for arg in typing.get_args(hint) if arg not in (type(None), ...)]:
        hint = arguments[0]
    return hint


def _key_said(place: Place) -> str:
    """Name a key with the tables around it, without their numbers: `devices.memory: `."""
    keys = [key for key in place if isinstance(key, str)]
    return f"{_one_line('.'.join(keys))}: " if keys else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
