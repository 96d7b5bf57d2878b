"""Who this node is, from one start to the next.

Owns `<data_dir>/nodes/`: for each device name one file per agent that ran at the same time under that name
on this machine (`tv.json`, `tv.1.json`, ...), each with a node id and a count of starts. A lock file beside
it is held for the life of the process, so that two agents of one name are two nodes. The lock is not the
file itself: that one is replaced at each start, and a lock stays with the file that was replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import BadSetting
from mesh.store.files import disk_errors, write_atomically
from mesh.store.lock import HeldLock, try_lock
from mesh.types import NodeId

MAX_NAME_LENGTH = 63
"""Characters of a device's name, as in one label of the DNS."""

MAX_SLOTS = 64
"""Agents of one name on one machine; more is a runaway script."""

_MAX_STEM_LENGTH = 120
_NODE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's lasting id, and which of its lives this is."""

    node_id: NodeId
    incarnation: int
    """1 at the first start, growing by at least 1 with each."""
    slot: int
    """0 for the first agent of its name on this machine, 1 for one that runs beside it, and so on."""


@contextmanager
def claim_identity(data_dir: Path, name: str) -> Iterator[Identity]:
    """Be the lowest free node of that name until the block ends, or the process does.

    Raises BadSetting for a name that cannot be used, a folder that cannot be written, or too many agents.
    """
    check_device_name(name)
    folder = data_dir / "nodes"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        slot, lock = _lowest_free(folder, name)
    try:
        with disk_errors(folder):
            identity = _start_once_more(folder / f"{_stem(name, slot)}.json", slot)
        yield identity
    finally:
        lock.release()


def is_device_name(text: str) -> bool:
    """Whether a device may be called so: 1 to 63 printable characters, no blank at either end."""
    return 1 <= len(text) <= MAX_NAME_LENGTH and text.isprintable() and text == text.strip()


def check_device_name(name: str) -> str:
    """Return the name; raise BadSetting if a device cannot be called so."""
    if not is_device_name(name):
        raise BadSetting(
            f"{name[:80]!r} cannot name a device; use 1 to {MAX_NAME_LENGTH} printable characters"
        )
    return name


def _lowest_free(folder: Path, name: str) -> tuple[int, HeldLock]:
    for slot in range(MAX_SLOTS):
        lock = try_lock(folder / f"{_stem(name, slot)}.lock")
        if lock is not None:
            return slot, lock
    raise BadSetting(f"{MAX_SLOTS} agents named '{name}' run here already; choose another --name")


def _start_once_more(path: Path, slot: int) -> Identity:
    node_id, num_starts = _read(path) or (NodeId(secrets.token_hex(16)), 0)
    identity = Identity(node_id, num_starts + 1, slot)
    content = {"node_id": identity.node_id, "incarnation": identity.incarnation}
    write_atomically(path, json.dumps(content).encode())
    return identity


def _read(path: Path) -> tuple[NodeId, int] | None:
    """Read what an earlier start wrote; a file spoilt by others counts as none, and the node is new."""
    try:
        content = json.loads(path.read_bytes())
        node_id, incarnation = content["node_id"], content["incarnation"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(node_id, str) or not _NODE_ID.fullmatch(node_id) or type(incarnation) is not int:
        return None
    return (NodeId(node_id), incarnation) if incarnation > 0 else None


def _stem(name: str, slot: int) -> str:
    """Escape a name for the disk, one to one: dots too, so that slot 1 of 'tv' is not slot 0 of 'tv.1'."""
    escaped = urllib.parse.quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(escaped) > _MAX_STEM_LENGTH:
        escaped = f"{escaped[:80]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return escaped if slot == 0 else f"{escaped}.{slot}"
