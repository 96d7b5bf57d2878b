"""What the store wrote down about a model when it came: enough to see later that its file is still that one.

Owns `receipt.json`. Must not know where models lie.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from mesh.store.files import write_atomically
from mesh.types import Digest


@dataclass(frozen=True, slots=True)
class Receipt:
    """The facts of a stored model. Equal size and time mean unchanged; a new time alone asks for a hash."""

    name: str
    sha256: Digest
    size_bytes: int
    mtime_ns: int
    source: str
    """What to hand to `mesh pull` to get it again: a name, a path or `hf:...`."""
    files: tuple[str, ...] = ()
    """Names of the files of a model that is a folder; sha256, size and time are over all of them."""


def read_receipt(path: Path) -> Receipt | None:
    """Read a receipt; None where there is none or it cannot be read, which means: not known to be whole."""
    try:
        content = json.loads(path.read_bytes())
        receipt = Receipt(**{**content, "files": tuple(content.get("files", ()))})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return receipt if _is_sound(receipt) else None


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write a receipt atomically."""
    content = dataclasses.asdict(receipt)
    if not receipt.files:
        del content["files"]
    write_atomically(path, json.dumps(content, indent=2).encode())


def _is_sound(receipt: Receipt) -> bool:
    texts = (receipt.name, receipt.sha256, receipt.source, *receipt.files)
    counts = (receipt.size_bytes, receipt.mtime_ns)
    plain = all(Path(name).name == name for name in receipt.files if isinstance(name, str))
    return plain and all(isinstance(text, str) for text in texts) and all(type(n) is int for n in counts)
