"""The node agent: puts a node together from real parts and runs it until it is told to stop.

Owns the choice of parts, and nothing that they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.adapters.disk_library import DiskLibrary
from mesh.adapters.grpc_transport import GrpcTransport
from mesh.adapters.torch_compute import TorchCompute
from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.errors import BadSetting
from mesh.messages import PROTOCOL
from mesh.ports import Listener
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.store.shelf import ModelStore
from mesh.types import Address, DeviceClass, NodeRecord
from nodes.identity import Identity, claim_identity

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
    num_threads: int
    listen: Address
    peers: tuple[Address, ...]
    data_dir: Path
    mesh: str
    until_eof: bool
    """Stop when standard input ends: for a parent that may die."""


async def run_agent(options: AgentOptions, started: Callable[[NodeRecord], None]) -> None:
    """Run until SIGINT, SIGTERM or, where asked for, the end of standard input; then leave the mesh.

    Calls `started` when the node can be dialled. Raises AddressInUse or BadSetting before that.
    """
    wanted = options.default_name if options.name is None else options.name
    with claim_identity(options.data_dir, wanted) as identity:
        listener = await GrpcTransport().listen(options.listen)
        record = _record(options, identity, listener)
        with _compute(options) as (library, compute):
            is_local = _is_loopback(options.listen.host)
            discovery = ZeroconfDiscovery(loopback_only=is_local)
            ports = Ports(GrpcTransport(), discovery, compute, library)
            settings = NodeSettings(options.memory_bytes, options.peers)
            node = Node(record, listener, ports, settings)
            started(record)
            async with _stopping(node, until_eof=options.until_eof):
                await node.run()


@contextmanager
def _compute(options: AgentOptions) -> Iterator[tuple[DiskLibrary, TorchCompute]]:
    library = DiskLibrary(ModelStore(options.data_dir))
    compute = TorchCompute(library, options.num_threads)
    try:
        yield library, compute
    finally:
        compute.close()


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


@asynccontextmanager
async def _stopping(node: Node, *, until_eof: bool) -> AsyncIterator[None]:
    """Have signals, and the end of standard input, stop the node."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stop)
    transport = await _watch_stdin(node) if until_eof else None
    try:
        yield
    finally:
        if transport is not None:
            transport.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _watch_stdin(node: Node) -> asyncio.ReadTransport | None:
    class UntilEof(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            node.stop()

    with contextlib.suppress(ValueError, OSError):  # a file or a closed stdin has no end to wait for
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(UntilEof, sys.stdin)
        return transport
    return None
