"""A file as memory: read where it is looked at, and nowhere else.

Owns the mapping and what may go wrong with it. Must not know what the bytes mean.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from mesh.errors import ModelCorrupt, ModelNotPulled


def map_file(path: Path) -> mmap.mmap:
    """Map a file for reading; raise ModelNotPulled where there is none, ModelCorrupt if it cannot be read."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise ModelNotPulled(f"there is no model file at {path}; pull the model first") from None
    except ValueError:
        raise ModelCorrupt(f"{path} is empty; pull the model again") from None
    except OSError as error:
        raise ModelCorrupt(f"{path} cannot be read: {error.strerror}") from error
