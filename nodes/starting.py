"""What an agent says when it has started: where it is, what it lends, and what it was told.

Owns the lines; what is usual is not said. No line shows the address or the key of a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mesh.adapters.metered_link import Metering
from mesh.logic.readiness import DEFAULT_LIMITS
from mesh.types import NodeRecord
from mesh.upstream import UpstreamCard
from nodes.memory_size import format_memory_size
from nodes.owner_limits import OwnerLimits

_METERED = {
    Metering.YES: "counts its link as metered",
    Metering.NO: "never counts its link as metered",
}


def started_line(record: NodeRecord, memory_bytes: int) -> str:
    """Say who is up, where, and what it lends."""
    return (
        f"{record.name} ({record.device_class}) is up in mesh '{record.mesh}' at {record.address}, "
        f"lends {format_memory_size(memory_bytes)}; Ctrl-C leaves"
    )


def limit_lines(limits: OwnerLimits) -> Iterator[str]:
    """Say each limit that the owner set."""
    if not limits.heeds_conditions:
        yield "stays whatever battery, heat, link and the file 'departing' say"
    if limits.readiness != DEFAULT_LIMITS:
        floor = limits.readiness.battery_low
        low = f"hands over while its battery is below {100 * floor:g}% and does not charge"
        yield low if floor else "heeds no battery"
    if limits.rest:
        yield f"rests {', '.join(map(str, limits.rest))} each day"
    if limits.metering in _METERED:
        yield _METERED[limits.metering]
    if limits.distrusted:
        yield f"distrusts {', '.join(sorted(limits.distrusted))}"


def server_lines(servers: Sequence[UpstreamCard]) -> Iterator[str]:
    """Name each server outside the mesh, with how far what it is asked goes."""
    for server in servers:
        yield f"the server {server.name} is attached (privacy {server.privacy})"
