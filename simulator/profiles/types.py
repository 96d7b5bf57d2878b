"""What is known of a kind of device, and of a kind of link, as values.

Owns their shapes and units. Must not know files, or what is computed from the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.types import DeviceClass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a profile and where it comes from."""

    name: str
    value: float
    source: str | None
    """None where nobody published it: general knowledge, or our own estimate."""
    note: str = ""
    """The arithmetic, where it was derived; or what the estimate rests on."""

    @property
    def is_sourced(self) -> bool:
        """Whether somebody published the figure, or what it was derived from."""
        return self.source is not None


@dataclass(frozen=True, slots=True)
class BatteryProfile:
    """What a full battery holds."""

    capacity_wh: float


@dataclass(frozen=True, slots=True)
class ThermalProfile:
    """How a device warms, and what it does about it; see `simulator.devices.thermal`."""

    degrees_per_w: float
    """How far above its surroundings it settles for each watt that it draws."""
    time_constant_s: float
    """In which it comes 63 % of the way there."""
    warm_c: float
    throttled_c: float
    critical_c: float
    """Each state begins at its degrees Celsius."""
    hysteresis_c: float
    """And ends so many degrees below."""
    warm_factor: float
    throttled_factor: float
    critical_factor: float
    """What is left of the full speed in each state, above 0 and at most 1."""


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A kind of device: memory, speed, power and its usual link."""

    name: str
    title: str
    device_class: DeviceClass
    link: str
    """Name of the link profile by which it usually hangs on its network."""
    installed_bytes: int
    usable_bytes: int
    """What is left for the mesh beside the system and its owner's apps; much less than installed."""
    bandwidth_bytes_per_s: float
    """Of its memory, as the maker says."""
    decode_efficiency: float
    """Share of the bandwidth that decoding reaches, above 0 and at most 1."""
    prefill_flops: float
    """Floating-point operations a second that a long prompt reaches."""
    load_bytes_per_s: float
    """Rate of bringing weights from disk into memory, packed."""
    frame_overhead_s: float
    """Fixed cost of one frame through a stage."""
    message_overhead_s: float
    """Cost of handling one message, sent or received: codec and system calls."""
    idle_w: float
    active_w: float
    battery: BatteryProfile | None = None
    """None on mains, and in a car."""
    thermal: ThermalProfile | None = None
    """None where a fan or a small load keep the device from slowing down."""
    figures: tuple[Figure, ...] = ()
    """Every number above with its source, those of the thermal profile as thermal.NAME."""


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """A kind of link between a device and its access point, switch or mast."""

    name: str
    title: str
    is_shared: bool
    """Whether all who use it share the medium's time."""
    carries_model: bool
    """Whether it is good for more than control messages; False for Bluetooth LE and Thread."""
    rate_bps: float
    """Goodput of one client that is alone, bits a second."""
    delay_s: float
    """One way of one crossing: half a round trip to the access point."""
    jitter_s: float
    """Mean of an addition to each delay, exponentially distributed."""
    loss: float
    """Probability that a packet is lost."""
    figures: tuple[Figure, ...] = ()
    """Every number above with its source."""
