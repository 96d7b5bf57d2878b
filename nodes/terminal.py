"""What may be written to a terminal: text without the characters that steer it.

Owns which characters those are. What a model or a server says, and the names and reasons that other devices
tell, may hold sequences that colour, move or rename; without the control characters at their start and end
they are plain letters.
"""

from __future__ import annotations

import re

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""C0 without newline and tab, DEL, C1 (ECMA-48)."""
_UNESCAPED = re.compile("[\x7f-\x9f]")
"""What `json.dumps` leaves as it is."""


def without_controls(text: str) -> str:
    """Return a text without control characters, newline and tab excepted.

    It looks at each character alone, so a sequence that comes in several pieces is disarmed too.
    """
    return _STEERING.sub("", text)


def in_one_line(text: str) -> str:
    """Return a text without any control characters; newlines and tabs become blanks."""
    return without_controls(text.replace("\n", " ").replace("\t", " "))


def escaped_json(text: str) -> str:
    """Escape DEL and C1 in a JSON text; the value stays the same, for they stand in its strings alone."""
    return _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
