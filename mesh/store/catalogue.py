"""The models known by name, and where their files come from.

Owns the format of `catalogue.toml` and the look-up by name. Must not know disks or networks: a source only
says where a file is to be had.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

from mesh.errors import BadSetting, UnknownModel
from mesh.store.names import folder_name
from mesh.types import Digest


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One member of a wheel of the Python package index; digest and size are the wheel's."""

    package: str
    version: str
    member: str
    sha256: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository of the hub; its digest is asked there unless the catalogue has it."""

    repo_id: str
    filename: str


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model known by name; digest and size are the GGUF file's."""

    name: str
    about: str
    license: str
    sha256: Digest
    size_bytes: int
    source: WheelFile | HubFile


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The known models, by name."""

    entries: tuple[CatalogueEntry, ...]

    def find(self, name: str) -> CatalogueEntry | None:
        """Return the entry of exactly that name."""
        return next((entry for entry in self.entries if entry.name == name), None)


def load_catalogue() -> Catalogue:
    """Read the catalogue that comes with the package."""
    return parse_catalogue(resources.files("mesh.store").joinpath("catalogue.toml").read_text("utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """Read a catalogue; raise BadSetting naming the model and what is wrong with it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"the catalogue of models is not TOML: {error}") from error
    entries = tuple(sorted((_entry(name, _Table(name, table)) for name, table in tables.items()), key=_name))
    folders = [folder_name(entry.name) for entry in entries]
    if len(set(folders)) < len(folders):
        raise BadSetting("the catalogue of models has two names that differ only by ':', '/' and '-'")
    return Catalogue(entries)


def unknown_model(wanted: str, known: Iterable[str]) -> UnknownModel:
    """Make the error for a name that nobody knows: it names the closest that is known, and `mesh models`."""
    close = difflib.get_close_matches(wanted.lower(), sorted(known), n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UnknownModel(f"no model {wanted[:80]!r} is known; {hint}`mesh models` lists those that are")


class _Table:
    """One table of the file; reads each key once, so that what is left over is unknown."""

    def __init__(self, where: str, content: object) -> None:
        if not isinstance(content, Mapping):
            raise BadSetting(f"the catalogue's '{where}' must be a table")
        self._where, self._content = where, dict(content)

    def text(self, key: str, pattern: str = r".+") -> str:
        value = self._content.pop(key, None)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise BadSetting(f"the catalogue's '{self._where}' has no proper '{key}': {value!r}")
        return value

    def digest(self) -> Digest:
        return Digest(self.text("sha256", r"[0-9a-f]{64}"))

    def size_bytes(self) -> int:
        value = self._content.pop("size_bytes", None)
        if not isinstance(value, int) or value <= 0:
            raise BadSetting(f"the catalogue's '{self._where}' has no proper 'size_bytes': {value!r}")
        return value

    def child(self, key: str) -> _Table | None:
        content = self._content.pop(key, None)
        return None if content is None else _Table(f"{self._where}.{key}", content)

    def end(self) -> None:
        if self._content:
            raise BadSetting(f"the catalogue's '{self._where}' has an unknown key '{min(self._content)}'")


def _entry(name: str, table: _Table) -> CatalogueEntry:
    folder_name(name)
    entry = CatalogueEntry(
        name=name,
        about=table.text("about"),
        license=table.text("license"),
        sha256=table.digest(),
        size_bytes=table.size_bytes(),
        source=_source(name, table.child("wheel"), table.child("hub")),
    )
    table.end()
    return entry


def _source(name: str, wheel: _Table | None, hub: _Table | None) -> WheelFile | HubFile:
    match wheel, hub:
        case _Table(), None:
            return _wheel(wheel)
        case None, _Table():
            return _hub(hub)
    raise BadSetting(f"the catalogue's '{name}' must have one source, 'wheel' or 'hub'")


def _wheel(table: _Table) -> WheelFile:
    word = r"[A-Za-z0-9][A-Za-z0-9._+!-]*"  # it goes to a command line: no option can be spelled with it
    package, version = table.text("package", word), table.text("version", word)
    wheel = WheelFile(package, version, table.text("member"), table.digest(), table.size_bytes())
    table.end()
    return wheel


def _hub(table: _Table) -> HubFile:
    hub = HubFile(table.text("repo_id", r"[\w.-]+/[\w.-]+"), table.text("filename", r".+\.gguf"))
    table.end()
    return hub


def _name(entry: CatalogueEntry) -> str:
    return entry.name
