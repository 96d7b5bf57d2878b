"""What may stand in a scenario's file.

Owns the tables and keys of a scenario, their types, defaults and descriptions; the descriptions are also
those of the published JSON Schema (`simulator.scenario.publish`). A value is read here as far as it can be
understood alone. Whether the values fit together is said in `simulator.scenario.checks`, what they come to
in `simulator.scenario.expand`.

Keys are named as in Python, in words with low lines between them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from simulator.claims import USUAL, Invariant, PromiseName
from simulator.scenario.spreads import Counts, Durations, Factors, Shares, Temperatures
from simulator.script import FaultKind
from simulator.units import Duration, Energy, Factor, Rate, Share, Size, Temperature

Names = str | tuple[str, ...]
"""One name, or a list of them."""

Number = Annotated[int, Meta(ge=0)]

Text = Annotated[str, Meta(min_length=1)]


class Undo(StrEnum):
    """Steps of a timeline that end what began earlier and was given no end."""

    START = "start"
    """Ends crash, power_off and leave."""
    WAKE = "wake"
    """Ends pause."""
    PLUG_IN = "plug_in"
    """Ends unplug."""
    STAY = "stay"
    """Ends depart and drain."""
    UNMETERED = "unmetered"
    """Ends metered."""
    ROUTER_ON = "router_on"
    """Ends router_off."""
    RECONNECT = "reconnect"
    """Ends partition."""
    RELEASE = "release"
    """Ends hold."""
    RECOVER = "recover"
    """Ends slow, heat, delay, slow_link, loss, drop, corrupt and fade."""


DEEDS = tuple(dict.fromkeys([*(kind.value for kind in FaultKind), *(word.value for word in Undo)]))
"""What a step of a timeline can do."""


VERSION_FORM = r"^[0-9]{1,4}\.[0-9]{1,4}$"


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a scenario."""


class LinkOverrides(Table, frozen=True, kw_only=True):
    """What one device's link has otherwise than its profile says; figures of one crossing to the router."""

    up_rate: Annotated[Rate | None, Meta(description="From the device, such as '20 Mbit/s'.")] = None
    down_rate: Annotated[Rate | None, Meta(description="To the device.")] = None
    delay: Annotated[Duration | None, Meta(description="One way, such as '5ms'.")] = None
    jitter: Annotated[Duration | None, Meta(description="Mean of a random addition to the delay.")] = None
    up_loss: Annotated[Share | None, Meta(description="Share of packets from the device that is lost.")] = (
        None
    )
    down_loss: Annotated[Share | None, Meta(description="Share of packets to the device that is lost.")] = (
        None
    )


class Device(Table, frozen=True, kw_only=True):
    """A device, or several equal ones, of each household."""

    name: Annotated[str, Meta(description="Name; with a count above 1 they are NAME-1, NAME-2 and so on.")]
    profile: Annotated[str, Meta(description="Name of a device profile, such as pi5.")]
    count: Annotated[int, Meta(ge=1, le=10_000, description="How many of them.")] = 1
    one_in: Annotated[int, Meta(ge=1, description="With 3, only every third household has it.")] = 1
    memory: Annotated[
        Size | None, Meta(description="What its owner lends to the mesh; else the profile's usable memory.")
    ] = None
    link: Annotated[
        str | None, Meta(description="Name of a link profile; else the device profile's own.")
    ] = None
    link_overrides: Annotated[
        LinkOverrides | None, Meta(description="What its link has otherwise than the link's profile.")
    ] = None
    lan: Annotated[str, Meta(description="The local network that it is in.")] = "home"
    mesh: Annotated[str, Meta(description="The mesh that it belongs to.")] = "home"
    models: Annotated[
        tuple[str, ...] | None, Meta(description="Models on its disk; else those of the scenario.")
    ] = None
    starts: Annotated[
        Durations | None, Meta(description="When its agent starts, or a range of two; else at once.")
    ] = None
    version: Annotated[
        str | None,
        Meta(
            description="Version of the protocol that it speaks, such as '1.1'.",
            extra_json_schema={"pattern": VERSION_FORM},
        ),
    ] = None
    battery: Annotated[
        Share | None, Meta(description="Level of its battery at the start; else it is on mains.")
    ] = None


class Lan(Table, frozen=True, kw_only=True):
    """A local network: an access point with its radio."""

    radio: Annotated[
        str | None,
        Meta(
            description="Access points of one radio share its air time; else each has the radio of its name."
        ),
    ] = None


class Path(Table, frozen=True, kw_only=True):
    """A direct path between two devices, in place of the way over the router."""

    source: Annotated[str, Meta(description="Name of the one device.")]
    target: Annotated[str, Meta(description="Name of the other.")]
    link: Annotated[
        str | None, Meta(description="Link profile whose figures hold where none are given here.")
    ] = None
    rate: Annotated[Rate | None, Meta(description="Such as '1 Gbit/s'; needed where no link is named.")] = (
        None
    )
    delay: Annotated[Duration | None, Meta(description="One way; needed where no link is named.")] = None
    jitter: Annotated[Duration | None, Meta(description="Mean of a random addition to the delay.")] = None
    loss: Annotated[Share | None, Meta(description="Share of packets that is lost.")] = None
    both_ways: Annotated[bool, Meta(description="Whether it leads back too, with the same figures.")] = True


class Work(Table, frozen=True, kw_only=True):
    """Requests that people make; in each household the same kind, at times of its own."""

    asker: Annotated[
        Names, Meta(description="Devices that are asked, one drawn for each request; 'any' stands for all.")
    ] = msgspec.field(default="any", name="from")
    at: Annotated[Duration | None, Meta(description="One moment.")] = None
    every: Annotated[Duration | None, Meta(description="A fixed gap between two requests.")] = None
    per_minute: Annotated[
        Annotated[float, Meta(gt=0, le=60_000)] | None,
        Meta(description="Mean number a minute, at random times (Poisson)."),
    ] = None
    start: Annotated[Duration | None, Meta(description="When the first may come; else at once.")] = None
    until: Annotated[Duration | None, Meta(description="When no more come; else at the healing.")] = None
    count: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="The most requests; with `at`, so many at that moment."),
    ] = None
    model: Annotated[str | None, Meta(description="Model; else the first of the scenario's.")] = None
    prompt: Annotated[Text | None, Meta(description="What is asked.")] = None
    prompts: Annotated[
        tuple[Text, ...] | None,
        Meta(description="Texts of which one is drawn."),
    ] = None
    prompt_tokens: Annotated[
        Counts | None, Meta(description="Length of a made text in tokens, or a range of two.")
    ] = None
    max_tokens: Annotated[
        Counts | None, Meta(description="Longest answer in tokens, or a range of two; else 32.")
    ] = None
    temperature: Annotated[float, Meta(ge=0, le=10, description="Of the sampling; 0 is greedy.")] = 0.0
    deadline: Annotated[Duration | None, Meta(description="When the asker gives up.")] = None
    asks_again: Annotated[bool, Meta(description="Whether a failure that may pass is tried again.")] = False


class Step(Table, frozen=True, kw_only=True):
    """Something that happens at a moment."""

    at: Annotated[Duration, Meta(description="When.")]
    do: Annotated[str, Meta(description="What.", extra_json_schema={"enum": list(DEEDS)})]
    devices: Annotated[Names, Meta(description="To whom: a name, a list of names, or 'any' for all.")] = ()
    toward: Annotated[Names, Meta(description="The other side of a path; else everybody else.")] = ()
    lasts: Annotated[
        Duration | None, Meta(description="How long; else until a later step or the healing ends it.")
    ] = msgspec.field(default=None, name="for")
    factor: Annotated[Factor | None, Meta(description="Of slow and slow_link, such as 50.")] = None
    delay: Annotated[Duration | None, Meta(description="Of delay: so much later.")] = None
    share: Annotated[Share | None, Meta(description="Of loss, drop and corrupt: so often.")] = None
    temperature: Annotated[Temperature | None, Meta(description="Of heat: around the device.")] = None
    quality: Annotated[Share | None, Meta(description="Of fade: signal that is left, 1 is full.")] = None
    level: Annotated[
        Share | None, Meta(description="Of unplug: what its battery holds; else as it was left.")
    ] = None
    over: Annotated[Duration | None, Meta(description="Of fade: how long the change takes.")] = None
    lan: Annotated[str | None, Meta(description="Of router_off and router_on; else every one.")] = None
    both_ways: Annotated[bool | None, Meta(description="Of faults of paths: also from `toward`.")] = None
    keeps_disk: Annotated[
        bool | None, Meta(description="Of crash, power_off, leave: whether it starts again with its disk.")
    ] = None


class Chance(Table, frozen=True, kw_only=True):
    """Faults that happen at random in each household, until the healing."""

    kinds: Annotated[tuple[FaultKind, ...], Meta(min_length=1, description="Which of them may happen.")]
    mean_gap: Annotated[Duration, Meta(description="Mean time between two in one household (Poisson).")]
    start: Annotated[Duration | None, Meta(description="When they begin; else at once.")] = None
    until: Annotated[Duration | None, Meta(description="When no more begin; else at the healing.")] = None
    lasts: Annotated[
        Durations | None, Meta(description="How long each lasts, or a range of two; else 1s to 10s.")
    ] = msgspec.field(default=None, name="for")
    devices: Annotated[Names, Meta(description="Whom they may befall.")] = "any"
    spares: Annotated[Names, Meta(description="Whom they never befall.")] = ()
    may_stop_all: Annotated[
        bool, Meta(description="Whether all devices of a mesh may be stopped at the same time.")
    ] = False
    factor: Annotated[Factors | None, Meta(description="Of slow and slow_link; else 2 to 20.")] = None
    delay: Annotated[Durations | None, Meta(description="Of delay; else 10ms to 500ms.")] = None
    share: Annotated[Shares | None, Meta(description="Of loss, drop, corrupt; else 1 % to 20 %.")] = None
    temperature: Annotated[Temperatures | None, Meta(description="Of heat; else 30 °C to 45 °C.")] = None
    quality: Annotated[Shares | None, Meta(description="Of fade; else 5 % to 50 %.")] = None
    keeps_disk: Annotated[bool, Meta(description="Whether who is stopped starts again with its disk.")] = True


class Pledge(Table, frozen=True, kw_only=True):
    """Something that must come true within a time after the healing."""

    promise: Annotated[PromiseName, Meta(description="What.")]
    within: Annotated[Duration, Meta(description="How long after the healing.")]


class TimingTable(Table, frozen=True, kw_only=True):
    """How long the mesh waits, where not as by default; see `mesh.config.Timing`."""

    heartbeat_interval: Annotated[Duration | None, Meta(description="Between two heartbeats.")] = None
    suspect_after: Annotated[Duration | None, Meta(description="Silence that makes a node suspect.")] = None
    lost_after: Annotated[Duration | None, Meta(description="Silence that makes a node lost.")] = None
    quick_heartbeat: Annotated[Duration | None, Meta(description="Between two in a session.")] = None
    quick_suspect: Annotated[Duration | None, Meta(description="Suspect in a session.")] = None
    quick_lost: Annotated[Duration | None, Meta(description="Lost in a session.")] = None
    echo_interval: Annotated[Duration | None, Meta(description="Between two looks at a way.")] = None
    flap_window: Annotated[Duration | None, Meta(description="In which goings are counted.")] = None
    kept_out: Annotated[Duration | None, Meta(description="An unreliable node is not planned with.")] = None
    forget_after: Annotated[Duration | None, Meta(description="How long a lost node is listed.")] = None
    dial: Annotated[Duration | None, Meta(description="For a channel and its handshake.")] = None
    load: Annotated[Duration | None, Meta(description="For a stage to be loaded.")] = None
    stall: Annotated[Duration | None, Meta(description="Longest wait for a token.")] = None
    close: Annotated[Duration | None, Meta(description="For saying goodbye.")] = None
    linger: Annotated[Duration | None, Meta(description="A stage keeps an orphaned session.")] = None
    told_every: Annotated[Duration | None, Meta(description="Text is sent so often at most.")] = None
    client_ask: Annotated[Duration | None, Meta(description="A client asks for a sign of life.")] = None
    client_lost: Annotated[Duration | None, Meta(description="And turns to another gateway.")] = None
    drain: Annotated[Duration | None, Meta(description="Longest wait to be relieved.")] = None


class Budgets(Table, frozen=True, kw_only=True):
    """The most that figures of the whole run may be; named as in the result of a run."""

    num_requests: Annotated[Number | None, Meta(description="Requests made.")] = None
    num_answered: Annotated[Number | None, Meta(description="Requests answered.")] = None
    num_failed: Annotated[Number | None, Meta(description="Requests that ended with an error.")] = None
    num_tokens: Annotated[Number | None, Meta(description="Tokens in all answers.")] = None
    ttft_p50_s: Annotated[Duration | None, Meta(description="Median time to the first token.")] = None
    ttft_max_s: Annotated[Duration | None, Meta(description="Longest time to the first token.")] = None
    tpot_p50_s: Annotated[Duration | None, Meta(description="Median time of a further token.")] = None
    tpot_max_s: Annotated[Duration | None, Meta(description="Longest mean time of a further token.")] = None
    num_recoveries: Annotated[Number | None, Meta(description="Losses that answers outlived.")] = None
    stall_max_s: Annotated[Duration | None, Meta(description="Longest pause by a loss.")] = None
    num_messages: Annotated[Number | None, Meta(description="Messages sent.")] = None
    num_bytes: Annotated[Size | None, Meta(description="Bytes sent.")] = None
    energy_j: Annotated[Energy | None, Meta(description="Energy of all devices.")] = None
    peak_memory_bytes: Annotated[Size | None, Meta(description="Most memory used on one device.")] = None


class ScenarioTables(Table, frozen=True, kw_only=True):
    """A scenario of ambient-mesh: devices, what they are asked, and what befalls them."""

    summary: Annotated[str, Meta(description="One line that says what happens.", min_length=1)]
    duration: Annotated[Duration, Meta(description="How long a run lasts, in virtual time.")]
    devices: Annotated[tuple[Device, ...], Meta(min_length=1, description="The devices of a household.")]
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Where no other is given with --seed.")] = 0
    models: Annotated[
        tuple[str, ...], Meta(min_length=1, description="On every device's disk that says nothing else.")
    ] = ("tiny",)
    households: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        Meta(description="Repeats all devices; each a mesh and local networks of its own."),
    ] = None
    lans: Annotated[dict[str, Lan], Meta(description="Local networks by name; 'home' where none is.")] = {}
    links: Annotated[tuple[Path, ...], Meta(description="Direct paths between two devices.")] = ()
    workload: Annotated[tuple[Work, ...], Meta(description="What is asked.")] = ()
    timeline: Annotated[tuple[Step, ...], Meta(description="What befalls whom, and when.")] = ()
    random: Annotated[tuple[Chance, ...], Meta(description="What may befall anybody at any time.")] = ()
    heal: Annotated[
        Duration | None,
        Meta(description="When everything is undone; else just early enough for the promises."),
    ] = None
    always: Annotated[tuple[Invariant, ...], Meta(description="What must hold at every moment.")] = USUAL
    eventually: Annotated[tuple[Pledge, ...], Meta(description="What must come true after the healing.")] = ()
    budgets: Annotated[Budgets, Meta(description="The most that figures of the run may be.")] = Budgets()
    timing: Annotated[TimingTable, Meta(description="How long the mesh waits.")] = TimingTable()
    measured: Annotated[
        bool,
        Meta(
            description="Whether devices announce how fast they are; plans go by memory alone where they do "
            "not, as while agents have not measured themselves yet."
        ),
    ] = True
    keeps_messages: Annotated[
        bool, Meta(description="Whether each message is kept as an event; costly with many devices.")
    ] = True


class Scenario(ScenarioTables, frozen=True, kw_only=True):
    """A scenario that has been read; its name is that of its file."""

    name: str

    @property
    def healed_s(self) -> float:
        """When every fault is undone and every device is started.

        Where the file says nothing: early enough that the longest promise, counted from then, ends one second
        before the run does.
        """
        if self.heal is not None:
            return self.heal
        longest_s = max((pledge.within for pledge in self.eventually), default=None)
        return self.duration if longest_s is None else self.duration - longest_s - 1.0


def read_value(kind: type[object], value: object) -> object:
    """Read a value of a type of our own; msgspec's hook."""
    if issubclass(kind, (Duration, Energy, Factor, Rate, Share, Size, Temperature)):
        return kind.read(value)
    if issubclass(kind, (Counts, Durations, Factors, Shares, Temperatures)):
        return kind.read(value)
    raise NotImplementedError(kind)
