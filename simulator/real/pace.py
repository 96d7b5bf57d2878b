"""How long a device of a profile takes, for the throttle: the figures that the virtual devices use.

Owns the asking. The arithmetic is that of `simulator.devices`, heat and battery included, so that both modes
mean the same device.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.ports import Library, Step
from mesh.spec import ModelSpec
from mesh.types import Hidden, Payload, StageKey, TokenIds
from simulator.devices.processor import Processor
from simulator.devices.roofline import FrameSize
from simulator.real.clock import now_s


class ProfilePace:
    """The pace of one device; see `simulator.real.throttle.Pace`."""

    def __init__(self, processor: Processor, library: Library) -> None:
        self._processor = processor
        self._library = library

    async def batch_until_s(self, steps: Sequence[Step]) -> float:
        """When a batch that begins now is through its stage."""
        came_s, key = now_s(), steps[0].cache.stage
        spec = await self._library.spec_of(key.digest)
        sizes = [FrameSize(step.start, _num_rows(step.payload, spec, key), step.sample) for step in steps]
        return self._processor.charge(came_s, spec, key, sizes).ends_s

    async def load_until_s(self, key: StageKey) -> float:
        """When a span whose loading begins now is in memory."""
        came_s = now_s()
        spec = await self._library.spec_of(key.digest)
        return came_s + self._processor.load_seconds(spec.weights_bytes(key.span, key.precision))


class NoPace:
    """As fast as this machine can."""

    async def batch_until_s(self, steps: Sequence[Step]) -> float:
        """Long ago."""
        return 0.0

    async def load_until_s(self, key: StageKey) -> float:
        """Long ago."""
        return 0.0


def _num_rows(payload: Payload, spec: ModelSpec, key: StageKey) -> int:
    match payload:
        case TokenIds(ids):
            return len(ids)
        case Hidden(data):
            return len(data) // spec.row_bytes(key.precision)
