"""What was measured of this device's speed, from one start to the next.

Owns `<data_dir>/speed.json`: records by what they were measured with (processor, engine, threads, version of
this package), so that a change of any has it measured anew. A file that cannot be read counts as none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from mesh.adapters.processor import processor_name
from mesh.store.files import disk_errors, write_atomically
from mesh.store.lock import locked
from mesh.types import SPEED_VERSION, SpeedRecord

_MAX_ENTRIES = 16  # of other engines and thread counts; the oldest goes


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a record of speed was measured with; where it is equal the record still holds."""

    processor: str
    engine: str
    kind: str
    """For which processor the engine's arithmetic is made."""
    num_threads: int
    package: str
    """Version of this package."""


@dataclass(frozen=True, slots=True)
class _Entry:
    fingerprint: Fingerprint
    speed: SpeedRecord


def fingerprint(engine: str, kind: str, num_threads: int) -> Fingerprint:
    """Return that of an engine on this device."""
    return Fingerprint(processor_name(), engine, kind, num_threads, version("ambient-mesh"))


def kept_speed(data_dir: Path, measured_with: Fingerprint) -> SpeedRecord | None:
    """Return what was measured before with the very same; None where nothing was."""
    entries = _read(_path(data_dir))
    return next((entry.speed for entry in entries if entry.fingerprint == measured_with), None)


def keep_speed(data_dir: Path, measured_with: Fingerprint, speed: SpeedRecord) -> None:
    """Write a record down in place of an older one; hold `only_one_measures` meanwhile.

    Raises BadSetting or PullFailed where the folder cannot be written.
    """
    with disk_errors(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        others = [entry for entry in _read(_path(data_dir)) if entry.fingerprint != measured_with]
        entries = [_Entry(measured_with, speed), *others][:_MAX_ENTRIES]
        write_atomically(_path(data_dir), msgspec.json.format(msgspec.json.encode(entries)))


@contextmanager
def only_one_measures(data_dir: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Let no other process of this machine measure meanwhile; wait for one that does, after `on_wait`."""
    with disk_errors(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
    with locked(data_dir / "speed.lock", on_wait):
        yield


def _path(data_dir: Path) -> Path:
    return data_dir / "speed.json"


def _read(path: Path) -> list[_Entry]:
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[_Entry])
    except (OSError, ValueError, msgspec.MsgspecError):
        return []
    return [entry for entry in entries if entry.speed.version == SPEED_VERSION]
