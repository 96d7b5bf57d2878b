"""What a model's file says about itself, read with its type checked.

Owns the messages for a key that is missing or makes no sense. Must not know what the keys mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from mesh.errors import ModelCorrupt

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
"""One entry of the metadata; an array is a tuple."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Typed access to the metadata under one prefix; each method raises ModelCorrupt naming the key.

    What is None counts as missing, as in JSON's null.
    """

    path: Path
    """The file that says it."""
    metadata: Mapping[str, object]
    prefix: str = ""
    """With its dot."""

    def text(self, key: str, default: str | None = None) -> str:
        """Read a string."""
        value = self._value(key, default)
        return value if isinstance(value, str) else self.wrong(key, "a string")

    def count(self, key: str, default: int | None = None) -> int:
        """Read a whole number; 0 only where that is the default."""
        value, least = self._value(key, default), 0 if default == 0 else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(key, "a count")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Read a positive finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            self.wrong(key, "a positive number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self._value(key, default)
        return value if isinstance(value, bool) else self.wrong(key, "true or false")

    def wrong(self, key: str, wanted: str) -> NoReturn:
        """Raise ModelCorrupt for a value that is not what belongs there."""
        shown = repr(self.metadata.get(self.prefix + key))[:40]
        raise ModelCorrupt(f"{self.path} has {shown} as '{self.prefix}{key}' where {wanted} belongs")

    def _value(self, key: str, default: object) -> object:
        value = self.metadata.get(self.prefix + key)
        value = default if value is None else value
        if value is None:
            raise ModelCorrupt(f"{self.path} has no metadata '{self.prefix}{key}'; pull the model again")
        return value
