"""Amounts of memory as people write them.

Owns the reading and writing of sizes: MB and GB are powers of ten, MiB and GiB powers of two, as IEC 80000-13
has it.
"""

from __future__ import annotations

import re
from decimal import Decimal

from mesh.errors import BadSetting

MAX_MEMORY_BYTES = 2**62
"""Beyond any device; keeps sums of sizes within what the wire carries."""

_FACTORS = {
    "": 1,
    "b": 1,
    **{unit: 1000**power for power, letter in enumerate("kmgt", 1) for unit in (letter, f"{letter}b")},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def parse_memory_size(text: str) -> int:
    """Read '300MB', '1.5GB', '512MiB', '2G' or plain bytes; big and small letters are the same.

    Raises BadSetting naming the text for what cannot be read, is not positive or beyond any device.
    """
    found = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise BadSetting(f"{text[:80]!r} is not an amount of memory; write for instance 300MB or 1.5GB")
    size_bytes = int(Decimal(found[1]) * factor)
    if not 0 < size_bytes <= MAX_MEMORY_BYTES:
        raise BadSetting(f"{text[:80]!r} cannot be a device's memory; write for instance 300MB or 1.5GB")
    return size_bytes


def format_memory_size(size_bytes: int) -> str:
    """Write a size for people, to three digits: '950 B', '300 MB', '1.5 GB'."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        # 999,950 kB would round to '1000 MB' one step below; so would each unit's last half thousandth.
        if size_bytes >= factor * 0.9995:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes} B"
