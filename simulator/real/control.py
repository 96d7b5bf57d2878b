"""What a household and its agents say to each other: one JSON object a line, on standard input and output.

Owns the shapes of the settings and lines. Addresses travel as text, HOST:PORT.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from mesh.config import Timing
from mesh.messages import PROTOCOL
from mesh.types import Address, NodeId, NodeRecord, ProtocolVersion
from simulator.profiles import DeviceProfile


class EngineKind(StrEnum):
    """What the agents compute with."""

    TORCH = "torch"
    """The real model from its file."""
    TOKENS = "tokens"
    """The token function: no file, no seconds to start, and models of any size."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All that one agent is told when it starts."""

    name: str
    mesh: str
    node_id: str
    incarnation: int
    memory_bytes: int
    models: tuple[str, ...]
    """Those of the models on this machine's disk that the device has."""
    data_dir: str
    profile: DeviceProfile
    engine: EngineKind = EngineKind.TORCH
    is_throttled: bool = True
    """Whether it computes as slowly as its profile says, or as fast as this machine can."""
    version: tuple[int, int] | None = None
    """Version of the protocol that it claims, where not ours."""
    battery_level: float | None = None
    """From 0 to 1; None on mains."""
    timing: Timing = field(default_factory=Timing)


def agent_record(settings: AgentSettings, address: Address) -> NodeRecord:
    """What the agent tells about itself once it listens at an address."""
    return NodeRecord(
        node_id=NodeId(settings.node_id),
        name=settings.name,
        device_class=settings.profile.device_class,
        address=address,
        mesh=settings.mesh,
        version=ProtocolVersion(*settings.version) if settings.version else PROTOCOL,
        incarnation=settings.incarnation,
    )


class Routes(msgspec.Struct, frozen=True, tag="routes"):
    """Where the agent reaches others; each line adds to those before."""

    ways: dict[str, str | None]
    """A listener's own address, and the proxy through which this agent reaches it; None: no path leads."""

    @property
    def parsed(self) -> dict[Address, Address | None]:
        """The ways as addresses."""
        return {Address.parse(end): Address.parse(way) if way else None for end, way in self.ways.items()}


class Slow(msgspec.Struct, frozen=True, tag="slow"):
    """Compute this many times as slowly."""

    factor: float


class Surround(msgspec.Struct, frozen=True, tag="surround"):
    """Be in surroundings of this temperature."""

    degrees_c: float


class Unplug(msgspec.Struct, frozen=True, tag="unplug"):
    """Run on battery from now on, or on mains again."""

    is_unplugged: bool
    level: float | None = None
    """What the battery holds, from 0 to 1; None: as it was left, else full."""


Control = Routes | Slow | Surround | Unplug


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """The agent can be dialled."""

    address: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Its engine has started."""


class Report(msgspec.Struct, frozen=True, tag="report"):
    """The agent's last words."""

    busy_s: float
    """Seconds of computing, with those that were waited out."""
    late_s: float
    """Seconds that this machine took beyond what the device would have."""
    energy_j: float = 0.0
    """As the profile has it, not of this machine."""
    battery_level: float | None = None


News = Listening | Ready | Report


def to_line(value: Control | News) -> bytes:
    """Write one line."""
    return msgspec.json.encode(value) + b"\n"
