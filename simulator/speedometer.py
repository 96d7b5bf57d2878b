"""The Speedometer port of a virtual device: what its profile says, as a device would announce it.

Owns the record. A real device measures itself when nobody needs it; a virtual one knows at once, for how it
computes is modelled anyway. What slows it down later (heat, faults) is not in the record, as it is not in a
real one.
"""

from __future__ import annotations

from mesh.spec import ModelSpec
from mesh.types import SPEED_VERSION, Precision, Span, SpeedRecord, StageKey, StepSpeed
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds
from simulator.profiles.types import DeviceProfile

_SESSIONS = (1, 2, 4, 8)
_POSITION = 64  # of the rows that are timed: little to look back at, as when a real device measures itself
_ROWS = 256


class VirtualSpeedometer:
    """See `mesh.ports.Speedometer`."""

    def __init__(self, profile: DeviceProfile, spec: ModelSpec) -> None:
        self._record = modelled_speed(profile, spec)

    async def kept(self) -> SpeedRecord | None:
        """What the profile says; see the port."""
        return self._record

    async def measure(self) -> SpeedRecord:
        """The same; see the port."""
        return self._record


def modelled_speed(
    profile: DeviceProfile, spec: ModelSpec, precision: Precision = Precision.INT4
) -> SpeedRecord:
    """Return how fast a device with this profile is, cool and healthy, measured on this model."""
    return SpeedRecord(
        version=SPEED_VERSION,
        engine="modelled",
        kind=profile.name,
        num_threads=1,
        model=spec.name,
        precision=precision,
        num_layers=spec.num_layers,
        layer_bytes=spec.layer_bytes(precision),
        steps=tuple(_step(profile, spec, precision, count) for count in _SESSIONS),
        prefill_layer_row_s=_layer_s(profile, spec, precision, [FrameSize(0, _ROWS, samples=False)]) / _ROWS,
        memory_rate_bytes_per_s=profile.bandwidth_bytes_per_s,
    )


def _step(profile: DeviceProfile, spec: ModelSpec, precision: Precision, num_sessions: int) -> StepSpeed:
    sizes = [FrameSize(_POSITION, 1, samples=True)] * num_sessions
    layer_s = _layer_s(profile, spec, precision, sizes)
    whole_s = batch_seconds(profile, _cost(spec, precision, spec.whole), sizes)
    return StepSpeed(num_sessions, layer_s, max(1e-9, whole_s - spec.num_layers * layer_s))


def _layer_s(profile: DeviceProfile, spec: ModelSpec, precision: Precision, sizes: list[FrameSize]) -> float:
    """Of a layer in the middle, by the difference of two spans: a batch has a cost beside its layers."""
    many, few = (_cost(spec, precision, Span(1, end)) for end in (spec.num_layers - 1, 2))
    seconds = batch_seconds(profile, many, sizes) - batch_seconds(profile, few, sizes)
    return seconds / (spec.num_layers - 3)


def _cost(spec: ModelSpec, precision: Precision, span: Span) -> StageCost:
    return StageCost.of(spec, StageKey(spec.digest, span, precision))
