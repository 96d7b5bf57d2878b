"""`mesh up` whose way to others leads through shaped links; otherwise the agent as it is.

Owns the translation of addresses. Agents tell each other where they listen; on one machine the way there
leads through a proxy. Run as `python -m benchmarks.beside.agent up ...` with the ways as JSON in MESH_WAYS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import nodes.agent
from benchmarks.beside.links import WAYS
from mesh.adapters.grpc_transport import GrpcChannel, GrpcTransport
from mesh.types import Address
from nodes.cli import main


class ShapedTransport(GrpcTransport):
    """The Transport port behind proxies."""

    async def dial(self, address: Address) -> GrpcChannel:
        """Open a channel by the way that leads there; see the port."""
        return await super().dial(_ways().get(address, address))


def _ways() -> Mapping[Address, Address]:
    ways = json.loads(os.environ.get(WAYS, "{}"))
    return {Address.parse(listening): Address.parse(door) for listening, door in ways.items()}


if __name__ == "__main__":
    setattr(nodes.agent, "GrpcTransport", ShapedTransport)  # noqa: B010  the agent makes it by this name
    main()
