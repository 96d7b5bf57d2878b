"""Recordings: one run in a file, from which the same run can be had again.

Owns the format. A recording is `MAGIC`, the number of the format in two bytes, and a MessagePack map
compressed by zlib, whose checksum tells a damaged file from a whole one. Must not know how a script is run.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from mesh.errors import BadSetting
from simulator.result import Complaint, RunResult, Verdict
from simulator.script import Script
from simulator.trace import Event

SUFFIX = ".meshrun"
FORMAT = 1
MAGIC = b"MESHRUN\n"

_FORMAT = struct.Struct(">H")
_HEADER_BYTES = len(MAGIC) + _FORMAT.size
_MAX_BYTES = 4 << 30
"""Of one recording in memory. The longest of ours have some hundred megabytes; a bomb has more."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One run as it was."""

    package_version: str
    """Of the ambient-mesh that ran it. Another one may run the same script in another way."""
    maths: str
    """What computed: token or real."""
    script: Script
    verdict: Verdict
    complaints: tuple[Complaint, ...]
    digest: str
    events: tuple[Event, ...]


def package_version() -> str:
    """The version of this ambient-mesh."""
    return version("ambient-mesh")


def recording_of(result: RunResult, maths: str = "token") -> Recording:
    """Keep of a run what its replay needs."""
    return Recording(
        package_version(),
        maths,
        result.script,
        result.verdict,
        result.complaints,
        result.digest,
        result.events,
    )


def save(result: RunResult, path: Path, maths: str = "token") -> None:
    """Write a recording; the file is there whole or not at all.

    Raises BadSetting where it cannot be written.
    """
    packed = zlib.compress(msgspec.msgpack.encode(recording_of(result, maths)), level=6)
    write_whole(path, MAGIC + _FORMAT.pack(FORMAT) + packed)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all; raise BadSetting where it cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise BadSetting(
            f"cannot write {path}: {error.strerror}; name a file in a folder of yours"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def read(path: Path) -> Recording:
    """Read a recording; raise BadSetting for what is none, is damaged, or has another format."""
    content = _content(path)
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise BadSetting(f"{path} is not a recording; make one with `mesh-sim run SCENARIO --save FILE`")
    if len(content) < _HEADER_BYTES:
        raise _damaged(path, "it is cut off")
    (number,) = _FORMAT.unpack_from(content, len(MAGIC))
    if number != FORMAT:
        raise BadSetting(
            f"{path} is a recording of format {number}, and this mesh-sim reads format {FORMAT}; "
            f"record its scenario and seed again with `mesh-sim run SCENARIO --seed N --save FILE`"
        )
    return _decoded(path, _unpacked(path, content[_HEADER_BYTES:]))


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise BadSetting(f"{path} is no regular file; name a recording")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSetting(f"cannot read {path}: {error.strerror}") from error


def _unpacked(path: Path, packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, _MAX_BYTES)
    except zlib.error as error:
        raise _damaged(path, "its bytes are altered") from error
    if unpacker.eof and not unpacker.unused_data:
        return content
    if unpacker.unconsumed_tail:
        raise _damaged(path, f"it holds more than {_MAX_BYTES >> 30} GiB")
    raise _damaged(path, "there is more behind its end" if unpacker.eof else "it is cut off")


def _decoded(path: Path, content: bytes) -> Recording:
    try:
        return msgspec.msgpack.decode(content, type=Recording)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"what it holds is no run: {error}") from error


def _damaged(path: Path, what: str) -> BadSetting:
    return BadSetting(f"{path} is a damaged recording: {what}; copy it again or record the run anew")
