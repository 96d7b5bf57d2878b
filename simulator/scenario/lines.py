"""On which line of a TOML text each key stands.

Owns only places. tomllib, which gives none, has already found the text valid and is the authority on what
it means; so nothing is checked here, and a text that is not valid gives some places or others but no error.

A place is a path of keys and indices, as in `("devices", 1, "memory")`. Tricky cases: a dotted key makes
the tables on its way; `[a.b]` below `[[a]]` means the last of them; a list, an inline table and a string of
three quotes go over several lines, and what stands in a string or comment is no key; CR LF is one line end.
"""

from __future__ import annotations

import re
import tomllib

PathKeys = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PARTED = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\r\n]*")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{1,2}(?!'))?", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)


def line_numbers(text: str) -> dict[PathKeys, int]:
    """Map each table, key and list item of a valid TOML text to its line, counted from 1."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.lines


def nearest_line(lines: dict[PathKeys, int], path: PathKeys) -> int:
    """Return the line of a path, or of the innermost table around it that is written down."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self.lines: dict[PathKeys, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._lengths: dict[PathKeys, int] = {}  # of lists of tables made by [[headers]]

    def scan(self) -> None:
        """Note every place."""
        table: PathKeys = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._next("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> PathKeys:
        is_list = self._text.startswith("[[", self._at)
        line = self._line
        self._step(2 if is_list else 1)
        keys = self._keys()
        self._step(2 if is_list else 1)
        path = self._inside(keys[:-1], (), line) + keys[-1:]
        self.lines.setdefault(path, line)
        if is_list:
            self._lengths[path] = self._lengths.get(path, 0) + 1
        path = self._last(path)
        self.lines[path] = line
        return path

    def _pair(self, table: PathKeys) -> None:
        line = self._line
        keys = self._keys()
        path = self._inside(keys[:-1], table, line) + keys[-1:]
        self.lines[path] = line
        self._step(1)
        self._value(path)

    def _inside(self, keys: PathKeys, table: PathKeys, line: int) -> PathKeys:
        """Walk down from a table; the tables that are only named on the way stand on this line."""
        for key in keys:
            table = (*table, key)
            self.lines.setdefault(table, line)
            table = self._last(table)
        return table

    def _last(self, path: PathKeys) -> PathKeys:
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _keys(self) -> PathKeys:
        keys = [self._key()]
        while self._next("."):
            self._step(1)
            keys.append(self._key())
        return tuple(keys)

    def _key(self) -> str:
        self._skip(_SPACE)
        quoted = self._string()
        key = self._skip(_BARE_KEY) if quoted is None else _unquoted(quoted)
        self._skip(_SPACE)
        return key

    def _value(self, path: PathKeys) -> None:
        self._skip(_SPACE)
        if self._next("["):
            self._items(path)
        elif self._next("{"):
            self._pairs(path)
        elif self._string() is None and not self._skip(_BARE_VALUE):
            self._step(1)  # not valid TOML: never stand still

    def _items(self, path: PathKeys) -> None:
        self._step(1)
        index = 0
        while self._has_another("]"):
            self.lines[(*path, index)] = self._line
            self._value((*path, index))
            index += 1

    def _pairs(self, path: PathKeys) -> None:
        self._step(1)
        while self._has_another("}"):
            self._pair(path)

    def _has_another(self, end: str) -> bool:
        """Go over what parts two items; whether another follows, else over the end too."""
        self._skip(_PARTED)
        if self._at < len(self._text) and not self._next(end):
            return True
        self._step(1)
        return False

    def _string(self) -> str | None:
        for form in _STRINGS:
            if form.match(self._text, self._at):
                return self._skip(form)
        return None

    def _next(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _skip(self, form: re.Pattern[str]) -> str:
        found = form.match(self._text, self._at)
        text = found[0] if found else ""
        self._step(len(text))
        return text

    def _step(self, length: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + length)
        self._at = min(self._at + length, len(self._text))


def _unquoted(text: str) -> str:
    try:
        return str(tomllib.loads(f"key = {text}")["key"])
    except tomllib.TOMLDecodeError:
        return text
