"""Something in a scenario that cannot be, and where it stands.

Owns the carrier of such news inside this package; `simulator.scenario.reading` makes one line of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from mesh.errors import BadSetting

T = TypeVar("T")

Place = tuple[str | int, ...]
"""Keys and indices from the top of the file, as in `("devices", 1, "memory")`."""

_MOST_LISTED = 12


class Wrong(Exception):
    """Something cannot be; the text says what, and what would be right."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what could have been meant: the nearest name, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    listed = ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")
    return f"known are {listed}" if names else "there are none"


def require(held: bool, place: Place, text: str) -> None:
    """Raise Wrong unless the condition holds."""
    if not held:
        raise Wrong(place, text)


def known_by(place: Place, find: Callable[[str], T], name: str) -> T:
    """Look a name up; its BadSetting becomes Wrong at that place."""
    try:
        return find(name)
    except BadSetting as error:
        raise Wrong(place, str(error)) from error
