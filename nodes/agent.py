"""The node agent: puts a node together from real parts and runs it until it is told to stop.

Owns the choice of parts, and nothing that they do.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mesh.adapters.device_conditions import DeviceConditions
from mesh.adapters.disk_library import DiskLibrary
from mesh.adapters.grpc_transport import GrpcTransport
from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.config import Planning
from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.compute import EngineCompute
from mesh.errors import BadSetting
from mesh.messages import PROTOCOL
from mesh.ports import Listener, Upstream
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.store.shelf import ModelStore
from mesh.types import Address, Aim, DeviceClass, NodeRecord, Standby
from mesh.upstream import UpstreamCard, UpstreamSettings
from nodes.bench_device import Choice
from nodes.identity import Identity, claim_identity
from nodes.memory_size import format_memory_size
from nodes.owner_limits import OwnerLimits
from nodes.speedometer import ProcessSpeedometer
from nodes.stopping import stopping
from nodes.upstreams import read_upstreams

_log = logging.getLogger(__name__)

_WILDCARDS = ("0.0.0.0", "::")
_SOMEWHERE_ELSE = ("192.0.2.1", 9)  # never sent to (RFC 5737): only asks which of our addresses would


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What the owner of a device chose."""

    name: str | None
    """None: the host's name, with the slot's number where several agents run."""
    default_name: str
    device_class: DeviceClass
    memory_bytes: int
    spare_bytes: int
    """Part of the memory that plans leave free for standing in; less than all of it."""
    standby: Standby
    """For which spans of what this device's gateway places another device holds a warm copy."""
    aim: Aim | None
    """What makes a plan of this device's gateway the best; None: as the load has it."""
    draft_model: str | None
    """A small model here that guesses for larger ones of its vocabulary."""
    num_threads: int
    engine: EngineName
    listen: Address
    peers: tuple[Address, ...]
    data_dir: Path
    mesh: str
    until_eof: bool
    """Leave at once when standard input ends: for a parent that may die."""
    limits: OwnerLimits
    """When the device hands over, and which others it uses."""
    measures_speed: bool
    """Measure how fast the device computes where that is not known, when nobody needs it."""


@dataclass(frozen=True, slots=True)
class Announcements:
    """Whom to tell how far the agent is."""

    started: Callable[[NodeRecord, Sequence[UpstreamCard]], None]
    """The node can be dialled; with the servers outside the mesh that it may ask."""
    handing_over: Callable[[], None]
    """It was told to stop, and leaves when others have taken over."""


async def run_agent(options: AgentOptions, announce: Announcements) -> None:
    """Run until SIGINT, SIGTERM or, where asked for, the end of standard input; then leave the mesh.

    The first signal has it hand over what it holds before it leaves, the second leaves at once; so does the
    end of standard input. Raises AddressInUse or BadSetting before it has started, also for a mistake in the
    settings of servers outside the mesh (`nodes.upstreams`).
    """
    _check_spare(options)
    upstreams = read_upstreams(options.data_dir, os.environ)
    wanted = options.default_name if options.name is None else options.name
    with claim_identity(options.data_dir, wanted) as identity:
        listener = await GrpcTransport().listen(options.listen)
        record = _record(options, identity, listener)
        with _compute(options) as (library, compute):
            is_local = _is_loopback(options.listen.host)
            discovery = ZeroconfDiscovery(loopback_only=is_local)
            conditions = _conditions(options)
            choice = Choice(options.data_dir, options.engine, options.num_threads)
            speedometer = ProcessSpeedometer(choice)
            async with _attached(upstreams) as servers:
                ports = Ports(GrpcTransport(), discovery, compute, library, conditions, speedometer, servers)
                node = Node(record, listener, ports, _settings(options))
                announce.started(record, [server.card for server in servers])
                async with stopping(node, announce.handing_over, until_eof=options.until_eof):
                    await node.run()


@asynccontextmanager
async def _attached(settings: Sequence[UpstreamSettings]) -> AsyncIterator[tuple[Upstream, ...]]:
    """Attach the servers outside the mesh; where there are none, nothing is loaded for them."""
    if not settings:
        yield ()
        return
    adapter = import_module("mesh.adapters.openai_upstream")
    servers = tuple[Upstream, ...](adapter.OpenAiUpstream(one) for one in settings)
    try:
        yield servers
    finally:
        for server in servers:
            await server.close()


def _check_spare(options: AgentOptions) -> None:
    spare, memory = options.spare_bytes, options.memory_bytes
    if spare >= memory:
        raise BadSetting(
            f"--spare {format_memory_size(spare)} leaves nothing of the {format_memory_size(memory)} "
            "that this device lends; give less, or more with --memory"
        )


def _conditions(options: AgentOptions) -> DeviceConditions | None:
    limits = options.limits
    return DeviceConditions(options.data_dir, wishes=limits.wishes) if limits.heeds_conditions else None


def _settings(options: AgentOptions) -> NodeSettings:
    return NodeSettings(
        memory_bytes=options.memory_bytes,
        spare_bytes=options.spare_bytes,
        peers=options.peers,
        planning=Planning(
            standby=options.standby,
            aim=options.aim,
            draft_model=options.draft_model,
            distrusted=options.limits.distrusted,
        ),
        readiness=options.limits.readiness,
        measures_speed=options.measures_speed,
    )


@contextmanager
def _compute(options: AgentOptions) -> Iterator[tuple[DiskLibrary, EngineCompute]]:
    library = DiskLibrary(ModelStore(options.data_dir))
    compute = EngineCompute(library, engine_maker(options.engine, options.num_threads))
    try:
        yield library, compute
    finally:
        compute.shut_down()


def _record(options: AgentOptions, identity: Identity, listener: Listener) -> NodeRecord:
    beside = f"-{identity.slot + 1}" if identity.slot else ""
    return NodeRecord(
        node_id=identity.node_id,
        name=f"{options.default_name}{beside}" if options.name is None else options.name,
        device_class=options.device_class,
        address=_reachable(listener.address),
        mesh=options.mesh,
        version=PROTOCOL,
        incarnation=identity.incarnation,
    )


def _reachable(address: Address) -> Address:
    """Where others find us: a wildcard is no address that one could dial."""
    if address.host not in _WILDCARDS:
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_SOMEWHERE_ELSE)
            host = asking.getsockname()[0]
        except OSError as error:
            raise BadSetting(f"cannot listen on {address}: this device is on no network") from error
    return Address(host, address.port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposure_warning(listen: Address) -> str | None:
    """Say what it means to listen beyond this machine; None on loopback."""
    if _is_loopback(listen.host):
        return None
    return (
        f"listening on {listen} without pairing or encryption: anybody on this network "
        "can use this device and read what passes"
    )
