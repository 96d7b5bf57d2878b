"""One run, fully concrete: which devices, what they are asked, what befalls them and when.

Owns the values that a run is made of. A scenario with a seed gives a script (`simulator.scenario`); the same
script always gives the same run. Nothing in here is random or relative any more, so that a script can be
kept in a file, and made smaller by leaving out devices, faults and requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mesh.config import Timing


class FaultKind(StrEnum):
    """What can befall devices and the paths between them."""

    CRASH = "crash"
    """The agent's process ends at once; its system resets its channels."""
    POWER_OFF = "power_off"
    """The device is gone without a word: nobody is told, and what is sent to it waits."""
    LEAVE = "leave"
    """The agent is stopped by its owner and says goodbye."""
    START = "start"
    """The agent starts, for the first time or again."""
    PAUSE = "pause"
    """The process stands still (SIGSTOP); what comes for it waits."""
    SLOW = "slow"
    """Computing takes `amount` times as long."""
    HEAT = "heat"
    """The device's surroundings are `amount` degrees Celsius."""
    UNPLUG = "unplug"
    """On battery from now on, filled to `amount` from 0 to 1; 0: as it was left, else full."""
    DEPART = "depart"
    """The device is about to leave the house, and says so: a car whose engine was started."""
    METERED = "metered"
    """What goes over the device's link costs money, and its system says so: a phone that shares its data."""
    DRAIN = "drain"
    """Somebody asks the agent to hand over what it holds, and to take nothing new."""
    DELAY = "delay"
    """Messages take `amount` seconds more."""
    SLOW_LINK = "slow_link"
    """Paths carry 1/`amount` of their rate."""
    LOSS = "loss"
    """A packet is lost with probability `amount`: it comes later, or after many losses the channel breaks."""
    DROP = "drop"
    """A message is lost for good with probability `amount`, which breaks its channel."""
    CORRUPT = "corrupt"
    """A bit of a message is turned with probability `amount`."""
    RESET = "reset"
    """Every open channel breaks now; new ones can be opened at once."""
    PARTITION = "partition"
    """Nothing passes from `devices` to `toward`; with `both_ways` nor back. Channels stay and wait."""
    HOLD = "hold"
    """As PARTITION, and what was sent meanwhile arrives at the release, however long it took."""
    ROUTER_OFF = "router_off"
    """The access point of `lan` is off: no device of it reaches another."""
    FADE = "fade"
    """Signal quality of the devices' links goes to `amount` (1 full, 0 gone) within `over_s` seconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at a time, and is undone after `for_s` seconds where that is given."""

    at_s: float
    kind: FaultKind
    devices: tuple[str, ...] = ()
    toward: tuple[str, ...] = ()
    """The other side, for faults of paths; empty: everybody else."""
    both_ways: bool = True
    amount: float = 0.0
    for_s: float | None = None
    over_s: float = 0.0
    lan: str | None = None
    keeps_disk: bool = True
    """Whether a device that starts again still has its models and its identity."""


@dataclass(frozen=True, slots=True)
class LinkScript:
    """How one device hangs on its network; figures are of one crossing between it and the access point."""

    kind: str
    """Name of the link's profile, such as wifi5."""
    is_shared: bool
    """Whether all devices of the access point share the medium's time, as on Wi-Fi."""
    up_rate_bps: float
    """Bits a second from the device."""
    down_rate_bps: float
    delay_s: float
    """One way."""
    jitter_s: float = 0.0
    """Mean of an exponentially distributed addition to the delay of each message."""
    up_loss: float = 0.0
    """Probability that a packet from the device is lost."""
    down_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class PathScript:
    """A direct path from one device to another, in place of the way over their access points."""

    source: str
    target: str
    rate_bps: float
    delay_s: float
    jitter_s: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceScript:
    """One virtual device. All that a profile says is looked up by its name when the run starts."""

    name: str
    profile: str
    mesh: str
    lan: str
    link: LinkScript
    memory_bytes: int
    """What its owner lends to the mesh."""
    models: tuple[str, ...]
    """On its disk."""
    starts_s: float = 0.0
    version: tuple[int, int] | None = None
    """Version of the protocol that it speaks, where not ours."""
    battery_level: float | None = None
    """From 0 to 1; None on mains."""
    is_measured: bool = False
    """Whether it announces how fast it is, as an agent does once it has measured itself."""


@dataclass(frozen=True, slots=True)
class LanScript:
    """One local network: an access point with its radio."""

    name: str
    radio: str
    """Access points of one radio space share its air time."""


@dataclass(frozen=True, slots=True)
class RequestScript:
    """One thing that somebody asks."""

    number: int
    at_s: float
    device: str
    """Whose gateway is asked."""
    model: str
    prompt: str
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    deadline_s: float | None = None
    asks_again: bool = False
    """Whether a failure that may pass is followed by another try, until the promise's bound is over."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that must come true within a time, counted from `Script.healed_s`."""

    name: str
    within_s: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a figure of the whole run may be; named as in `simulator.result.Figures`."""

    figure: str
    limit: float


@dataclass(frozen=True, slots=True)
class Script:
    """One run."""

    scenario: str
    seed: int
    duration_s: float
    healed_s: float
    """When every fault that still lasts is undone and every device is started; the end where nothing is."""
    lans: tuple[LanScript, ...]
    devices: tuple[DeviceScript, ...]
    requests: tuple[RequestScript, ...]
    faults: tuple[Fault, ...] = ()
    paths: tuple[PathScript, ...] = ()
    always: tuple[str, ...] = ()
    """Names of invariants, see `simulator.invariants`."""
    eventually: tuple[Promise, ...] = ()
    budgets: tuple[Budget, ...] = ()
    timing: Timing = field(default_factory=Timing)
    keeps_messages: bool = True
    """Whether each message is kept as an event; all are part of the digest either way."""
