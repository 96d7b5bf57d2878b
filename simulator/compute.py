"""The Compute port of a virtual device: charges modelled seconds, and runs the mathematics it is given.

Owns the order: time is charged first, then the results are computed, in no virtual time at all. A batch
whose caller gives up charges nothing more and leaves the sessions as they were. Must not know how long work
takes (the processor's business), nor what comes out of it (that of `Maths`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mesh.errors import MeshError, ModelNotPulled, UnknownSession
from mesh.now import now_s
from mesh.ports import Prefix, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Digest, Hidden, Payload, Sampling, SessionId, StageKey, TokenIds
from simulator.devices.processor import Charges, FixedSpeed
from simulator.devices.roofline import FrameSize
from simulator.token_function import Maths, TokenFunction


@dataclass(frozen=True, slots=True)
class ComputedFrame:
    """A frame that went through a stage."""

    began_s: float
    """When the processor began with its batch; that ended when the observer is told."""
    session_id: SessionId
    key: StageKey
    position: int
    num_rows: int


class ComputeObserver(Protocol):
    """Is told what a device has done, at the moment at which it was done."""

    def loaded(self, began_s: float, key: StageKey, num_bytes: int) -> None:
        """A span has come into memory."""

    def computed(self, frame: ComputedFrame) -> None:
        """A frame has gone through a stage."""


class ModelledCompute:
    """The Compute port for one virtual device and the models on its disk."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        processor: Charges,
        maths: Maths | None = None,
        observer: ComputeObserver | None = None,
    ) -> None:
        self._specs: dict[Digest, ModelSpec] = {spec.digest: spec for spec in specs}
        self._processor = processor
        self.maths = maths or TokenFunction(self._specs.values())
        """What it computes with."""
        self._observer = observer
        self._stages: dict[StageKey, int] = {}
        self._caches: dict[CacheKey, int] = {}
        """Those that are open, with their bytes."""

    @property
    def num_open(self) -> int:
        """Caches that are held here."""
        return len(self._caches)

    @property
    def sessions(self) -> tuple[SessionId, ...]:
        """Whose caches are held here, in the order of opening."""
        return tuple(dict.fromkeys(cache.session_id for cache in self._caches))

    @property
    def stages(self) -> frozenset[StageKey]:
        """What is loaded."""
        return frozenset(self._stages)

    @property
    def memory_bytes(self) -> int:
        """Weights and caches that are held now."""
        return sum(self._stages.values()) + sum(self._caches.values())

    async def load(self, key: StageKey) -> int:
        """Load a span, which takes its bytes' time from the disk; see the port."""
        if key not in self._stages:
            began_s = now_s()
            num_bytes = self._spec(key.digest).weights_bytes(key.span, key.precision)
            await asyncio.sleep(self._processor.load_seconds(num_bytes))
            self._stages[key] = self.maths.load(key)
            if self._observer:
                self._observer.loaded(began_s, key, num_bytes)
        return self._stages[key]

    async def unload(self, key: StageKey) -> None:
        """Free a span; see the port."""
        self.maths.unload(key)
        self._stages.pop(key, None)

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        """Allot a cache; copying takes no time worth modelling; see the port."""
        length = self.maths.open(cache, context, sampling, prefix)
        key = cache.stage
        self._caches[cache] = self._spec(key.digest).cache_bytes(key.span, context, key.precision)
        return length

    async def close(self, cache: CacheKey) -> None:
        """Free a cache; see the port."""
        self.maths.close(cache)
        self._caches.pop(cache, None)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run a batch, which takes the processor's time; see the port."""
        known = [step for step in steps if step.cache in self._caches]
        if not known:
            return [self._result(step) for step in steps]
        (key,) = {step.cache.stage for step in known}
        spec = self._spec(key.digest)
        row_bytes = spec.row_bytes(key.precision)
        sizes = [
            FrameSize(step.start, _num_rows(step.payload, row_bytes), step.sample, step.num_wanted)
            for step in known
        ]
        began_s = await self._spend(spec, key, sizes)
        results = [self._result(step) for step in steps]
        for step, size in zip(known, sizes, strict=True):
            self._tell(ComputedFrame(began_s, step.cache.session_id, key, step.start, size.num_rows))
        return results

    def _result(self, step: Step) -> StepResult:
        if step.cache not in self._caches:
            return UnknownSession(f"session {step.cache.session_id} is not open here")
        try:
            return self.maths.run(step)
        except MeshError as error:
            return error

    def _tell(self, frame: ComputedFrame) -> None:
        if self._observer:
            self._observer.computed(frame)

    async def _spend(self, spec: ModelSpec, key: StageKey, sizes: Sequence[FrameSize]) -> float:
        """Wait until the processor has done a batch; return when it began with it."""
        asked_s = now_s()
        charge = self._processor.charge(asked_s, spec, key, sizes)
        try:
            await asyncio.sleep(charge.ends_s - asked_s)
        except asyncio.CancelledError:
            self._processor.refund(now_s(), charge)
            raise
        return charge.began_s

    def _spec(self, digest: Digest) -> ModelSpec:
        spec = self._specs.get(digest)
        if spec is None:
            raise ModelNotPulled(f"the model {digest[:12]} is not on this device")
        return spec


class TokenFunctionCompute(ModelledCompute):
    """The Compute port for tests: one model, and every batch takes the same virtual time."""

    def __init__(self, spec: ModelSpec, step_s: float = 0.01, row_s: float = 0.0) -> None:
        super().__init__((spec,), FixedSpeed(step_s, row_s))


def _num_rows(payload: Payload, bytes_per_row: int) -> int:
    """Return a payload's rows; what is no whole row counts as none, and `Maths` refuses it."""
    match payload:
        case TokenIds(ids):
            return len(ids)
        case Hidden(data):
            return len(data) // bytes_per_row
