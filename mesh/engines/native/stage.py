"""A stage of packed weights, and the running of frames of several sessions through it.

Owns the weights' memory and the cutting of frames into calls of the kernels. Must not know files, messages or
who sends the frames. All calls compute at once, on the calling thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ctypes import Array, pointer
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.cache import KvCache
from mesh.engines.native.kernels import Frame, Head, Kernels, Layer, Matrix, Segment
from mesh.engines.native.kernels import Stage as StageStruct
from mesh.engines.native.packing import Packed
from mesh.engines.native.parts import Part
from mesh.engines.native.rotary import Rotary
from mesh.errors import ShapeMismatch
from mesh.model.edges import check_context, check_ids
from mesh.spec import ModelSpec
from mesh.types import Span

Rows = NDArray[np.float32]

_MAX_ROWS = 256  # of one call: what they are rounded to stays in the second cache
_ALIGNMENT = 64
_VECTORS = ("attention_norm", "bias", "query_norm", "key_norm", "feed_forward_norm")


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one session: hidden states [rows, hidden] float32 from a position on, changed in place."""

    cache: KvCache
    start: int
    hidden: Rows

    @property
    def num_rows(self) -> int:
        """Positions by which it takes its session further."""
        return len(self.hidden)


@dataclass(frozen=True, slots=True)
class Weights:
    """Parts of a span; the embedding is the head too where the model ties them and both are here."""

    layers: tuple[Part, ...]
    embedding: Part | None
    final_norm: Part | None
    head: Part | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them; one that serves twice is named twice."""
        return (*self.layers, *(part for part in (self.embedding, self.final_norm, self.head) if part))


def num_bytes(parts: Iterable[Part]) -> int:
    """Bytes of all arrays, shared ones once."""
    return sum({id(array): array.nbytes for part in parts for array in part.values()}.values())


class Stage:
    """One span of a model, ready to compute; made by `mesh.engines.native.loading`.

    A row's results have the same bits whatever rows stand beside it, however its prompt was cut into frames,
    and on any processor.
    """

    def __init__(self, kernels: Kernels, spec: ModelSpec, span: Span, weights: Weights) -> None:
        self.spec = spec
        self.span = span
        self.weights_bytes = num_bytes(weights.parts)
        """Bytes of the weights in memory."""
        self._kernels = kernels
        self._weights = weights  # what the structures point to
        self._rotary = Rotary(spec)
        self._layers = (Layer * span.num_layers)(*(_layer(spec, part) for part in weights.layers))
        self._struct = _stage_struct(spec, span, self._layers)
        self._embedding = _table(spec, weights.embedding)
        self._head = _head(spec, weights)
        self._scratch = np.empty(0, np.uint8)

    def new_cache(self, context: int) -> KvCache:
        """Allot the keys and values of a session; raise ContextExceeded beyond what the model knows."""
        check_context(self.spec, context)
        self._rotary.reserve(context)
        return KvCache(self.spec, self.span, context)

    def embed(self, ids: NDArray[np.int64]) -> Rows:
        """Look up tokens: [tokens, hidden]; raise ShapeMismatch for one outside the vocabulary."""
        if self._embedding is None:
            raise ShapeMismatch(f"span {self.span} takes hidden states, not tokens")
        check_ids(self.spec, int(ids.min()), int(ids.max()))
        return self._kernels.embed(self._embedding, ids)

    def forward(self, runs: Sequence[Run], num_threads: int) -> list[int | None]:
        """Run rows through all layers; return for each the model's layer after which it was no number.

        None where all went well. What a run needs before its first row is in its cache, and its rows fit;
        afterwards `Run.hidden` is what the next stage takes, each number one of bf16. Caches are of different
        sessions, and their lengths are not changed.
        """
        bad_rows = [np.zeros(run.num_rows, np.int32) for run in runs]
        for call in _calls([run.num_rows for run in runs]):
            self._call([(runs[index], rows, bad_rows[index]) for index, rows in call], num_threads)
        return [self._first_bad(bad) for bad in bad_rows]

    def logits(self, hidden: Rows, num_threads: int) -> Rows:
        """Score rows [rows, hidden] of the last layer: [rows, vocab] float32.

        Raises ShapeMismatch on a stage that is not the last.
        """
        if self._head is None:
            raise ShapeMismatch(f"span {self.span} has no output head; only the last stage of a model has")
        return self.product(self._head, hidden, num_threads)[:, : self.spec.vocab_size]

    def product(self, head: Head, rows: Rows, num_threads: int) -> Rows:
        """Multiply a matrix with rows [rows, hidden] behind a norm: [rows, padded rows of the matrix]."""
        scratch = self._scratch_for(len(rows), 0, num_threads)
        return self._kernels.logits(self._struct, head, rows, scratch, num_threads)

    def _call(self, some: Sequence[tuple[Run, slice, NDArray[np.int32]]], num_threads: int) -> None:
        """Compute some rows of some runs at once, in place, and mark those that are no numbers."""
        parts = [run.hidden[rows] for run, rows, _ in some]
        hidden = parts[0] if len(parts) == 1 else np.concatenate(parts)
        bad_layers = np.zeros(len(hidden), np.int32)
        longest = max(run.start + rows.stop for run, rows, _ in some)
        frame = Frame(
            pointer(self._struct),
            (Segment * len(some))(*(_segment(run, rows) for run, rows, _ in some)),
            len(some),
            len(hidden),
            hidden.ctypes.data,
            self._rotary.cosines.ctypes.data,
            self._rotary.sines.ctypes.data,
            bad_layers.ctypes.data,
            self._scratch_for(len(hidden), longest, num_threads),
            num_threads,
        )
        self._kernels.forward(frame)
        at = 0
        for part, (_, rows, bad) in zip(parts, some, strict=True):
            if part is not hidden:
                part[:] = hidden[at : at + len(part)]
            bad[rows] = bad_layers[at : at + len(part)]
            at += len(part)

    def _scratch_for(self, num_rows: int, longest: int, num_threads: int) -> int:
        """Return the address of memory for what a call writes down; it is kept for the next one."""
        wanted = self._kernels.scratch_bytes(self._struct, num_rows, longest, num_threads)
        if wanted + _ALIGNMENT > self._scratch.nbytes:
            self._scratch = np.empty(wanted + _ALIGNMENT, np.uint8)
        address = self._scratch.ctypes.data
        return address + -address % _ALIGNMENT

    def _first_bad(self, bad: NDArray[np.int32]) -> int | None:
        marked = bad[bad > 0]
        return self.span.start + int(marked.min()) - 1 if len(marked) else None


def _calls(lengths: Sequence[int]) -> Iterator[list[tuple[int, slice]]]:
    """Cut runs of so many rows into calls of at most _MAX_ROWS; each run's rows stay in order."""
    call: list[tuple[int, slice]] = []
    room = _MAX_ROWS
    for index, length in enumerate(lengths):
        at = 0
        while at < length:
            taken = min(room, length - at)
            call.append((index, slice(at, at + taken)))
            at, room = at + taken, room - taken
            if room == 0:
                yield call
                call, room = [], _MAX_ROWS
    if call:
        yield call


def _segment(run: Run, rows: slice) -> Segment:
    cache, num_rows = run.cache, rows.stop - rows.start
    return Segment(
        num_rows, run.start + rows.start, cache.capacity, cache.keys.ctypes.data, cache.values.ctypes.data
    )


def _stage_struct(spec: ModelSpec, span: Span, layers: Array[Layer]) -> StageStruct:
    return StageStruct(
        span.num_layers,
        spec.hidden_size,
        spec.num_heads,
        spec.num_kv_heads,
        spec.head_dim,
        spec.intermediate_size,
        spec.rms_norm_eps,
        layers,
    )


def _layer(spec: ModelSpec, part: Part) -> Layer:
    q_size = spec.num_heads * spec.head_dim
    return Layer(
        *(_address(part, name) for name in _VECTORS),
        matrix_of(part["query_key_value"], spec.hidden_size, q_size + 2 * spec.num_kv_heads * spec.head_dim),
        matrix_of(part["attention_output"], q_size, spec.hidden_size),
        matrix_of(part["gate_up"], spec.hidden_size, 2 * spec.intermediate_size),
        matrix_of(part["down"], spec.intermediate_size, spec.hidden_size),
    )


def _address(part: Part, name: str) -> int | None:
    return part[name].ctypes.data if name in part else None


def matrix_of(blocks: NDArray[np.generic], num_columns: int, num_rows: int) -> Matrix:
    """Wrap a matrix whose size tells its bits."""
    bits = 4 if blocks.nbytes < num_rows * num_columns else 8
    return Packed(blocks.view(np.uint8), num_columns, bits).matrix


def _head(spec: ModelSpec, weights: Weights) -> Head | None:
    table = _table(spec, weights.head)
    if table is None or weights.final_norm is None:
        return None
    return Head(weights.final_norm["norm"].ctypes.data, table)


def _table(spec: ModelSpec, part: Part | None) -> Matrix | None:
    return matrix_of(part["table"], spec.hidden_size, spec.vocab_size) if part else None
