"""What a process holds in memory, with the pages of each file counted once however often they are mapped."""

from __future__ import annotations

from pathlib import Path

import psutil


def resident_bytes(pid: int, packed: Path) -> int:
    """Resident bytes of a process; of the files in a folder at most their size."""
    process = psutil.Process(pid)
    maps = process.memory_maps(grouped=True)
    twice = sum(max(0, one.rss - _size(one.path)) for one in maps if packed in Path(one.path).parents)
    return int(process.memory_info().rss) - twice


def _size(path: str) -> int:
    page = 4096
    return -(-Path(path).stat().st_size // page) * page
