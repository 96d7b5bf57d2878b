"""The kernels' library as Python sees it.

Owns the structures that both sides share, and the finding of the built library. Must not know weights or
sessions. The library is an extension that is built when the package is installed; where there was no
compiler it is missing, and `available` says so.

Every call gives up the interpreter's lock while it computes.
"""

from __future__ import annotations

import ctypes
import sysconfig
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LANES = 16
"""Rows of a block of a matrix, keys of a block of the cache."""
BLOCK_BYTES = {4: 256 + 32 + 32, 8: 512 + 32}
"""Bytes of a block of 16 rows by 32 columns, by the bits of its quants."""


class Kind(IntEnum):
    """For which processor the arithmetic was compiled; all come to the same bits."""

    ANY = 0
    AVX2 = 1
    AVX512_VNNI = 2
    NEON = 3
    AVX_VNNI = 4
    NEON_DOTPROD = 5


class Matrix(Structure):
    """A packed matrix; see frames.h."""

    _fields_ = (("blocks", c_void_p), ("num_rows", c_int64), ("num_columns", c_int64), ("bits", c_int64))


class Layer(Structure):
    """Pointers to the weights of one layer; those that a family has not are null."""

    _fields_ = (
        ("attention_norm", c_void_p),
        ("bias", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("feed_forward_norm", c_void_p),
        ("query_key_value", Matrix),
        ("attention_output", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
    )


class Stage(Structure):
    """The layers of a stage and their sizes."""

    _fields_ = (
        ("num_layers", c_int64),
        ("hidden", c_int64),
        ("num_heads", c_int64),
        ("num_kv_heads", c_int64),
        ("head_dim", c_int64),
        ("intermediate", c_int64),
        ("epsilon", c_double),
        ("layers", POINTER(Layer)),
    )


class Segment(Structure):
    """Rows of one session, and its cache."""

    _fields_ = (
        ("num_rows", c_int64),
        ("start", c_int64),
        ("capacity", c_int64),
        ("keys", c_void_p),
        ("values", c_void_p),
    )


class Frame(Structure):
    """What one call computes."""

    _fields_ = (
        ("stage", POINTER(Stage)),
        ("segments", POINTER(Segment)),
        ("num_segments", c_int64),
        ("num_rows", c_int64),
        ("hidden", c_void_p),
        ("cosines", c_void_p),
        ("sines", c_void_p),
        ("bad_layers", c_void_p),
        ("scratch", c_void_p),
        ("num_threads", c_int64),
    )


class Head(NamedTuple):
    """What makes scores of hidden states."""

    norm: int
    """Address of the final norm's weights."""
    table: Matrix


class Kernels:
    """The loaded library."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._scratch_bytes = library.mesh_scratch_bytes
        self._scratch_bytes.restype = c_int64
        self._scratch_bytes.argtypes = (POINTER(Stage), c_int64, c_int64, c_int64)
        self._forward = library.mesh_forward
        self._forward.restype = None
        self._forward.argtypes = (POINTER(Frame), c_int64)
        self._logits = library.mesh_logits
        self._logits.restype = None
        self._logits.argtypes = (
            POINTER(Stage), POINTER(Matrix), c_void_p, c_void_p,
            c_void_p, POINTER(c_int64), c_void_p, c_int64,
        )  # fmt: skip
        self._embed = library.mesh_embed
        self._embed.restype = None
        self._embed.argtypes = (POINTER(Matrix), c_void_p, c_int64, c_void_p)
        library.mesh_runs.restype = c_int64
        library.mesh_runs.argtypes = (c_int64,)
        self.kinds = tuple(kind for kind in Kind if library.mesh_runs(kind))
        """All that this processor runs."""
        library.mesh_best_kind.restype = c_int64
        self.kind = Kind(library.mesh_best_kind())
        """Which arithmetic is run: the best for this processor, unless a test sets another."""

    def scratch_bytes(self, stage: Stage, num_rows: int, max_positions: int, num_threads: int) -> int:
        """Bytes that a call needs to write down what it computes on the way."""
        return int(self._scratch_bytes(stage, num_rows, max_positions, num_threads))

    def forward(self, frame: Frame) -> None:
        """Run rows through all layers of a stage, in place."""
        self._forward(frame, self.kind)

    def logits(
        self,
        stage: Stage,
        head: Head,
        hidden: NDArray[np.float32],
        scratch: int,
        num_threads: int,
    ) -> NDArray[np.float32]:
        """Score rows [rows, hidden] float32 against a table: [rows, padded vocabulary] float32.

        `scratch` is the address of as many bytes as `scratch_bytes` says for the rows, without positions.
        """
        hidden = np.ascontiguousarray(hidden)
        scores = np.empty((len(hidden), head.table.num_rows), np.float32)
        sizes = (c_int64 * 2)(len(hidden), num_threads)
        self._logits(
            stage, head.table, head.norm, hidden.ctypes.data, scores.ctypes.data, sizes, scratch, self.kind
        )
        return scores

    def embed(self, table: Matrix, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Look up tokens in a table of 8 bits: [tokens, hidden] float32."""
        ids = np.ascontiguousarray(ids)
        hidden = np.empty((len(ids), table.num_columns), np.float32)
        self._embed(table, ids.ctypes.data, len(ids), hidden.ctypes.data)
        return hidden


@cache
def _path() -> Path | None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    path = Path(__file__).with_name(f"_kernels{suffix}")
    return path if path.exists() else None


def available() -> bool:
    """Whether the kernels were built when this package was installed."""
    return _path() is not None


def load_kernels() -> Kernels:
    """Load the library; call it only where `available`."""
    path = _path()
    assert path is not None
    return Kernels(path)
