"""The devices of a home as one private computer for language models.

    async with mesh.connect() as m:
        async for piece in m.chat("What is the capital of Japan?"):
            print(piece.text, end="", flush=True)

Importing this package loads neither torch nor gRPC; `connect` loads gRPC when it is first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mesh.errors import MeshError
from mesh.types import ChatMessage

if TYPE_CHECKING:
    from mesh.api import connect
    from mesh.blocking import connect_blocking

__all__ = ["ChatMessage", "MeshError", "connect", "connect_blocking"]

_LAZY = {"connect": "mesh.api", "connect_blocking": "mesh.blocking"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mesh' has no attribute '{name}'")
