"""A shaped network between devices, in a process of its own so that it slows no one's event loop.

Owns what a link costs: the same delay and rate each way for every hop, whoever uses it. The proxies are the
simulator's (`simulator.real.shaper`). Run as `python -m benchmarks.beside.links HOPS`, where HOPS is JSON;
prints where each hop is dialled as one JSON list, and ends when its standard input does.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.beside.processes import Command, running
from mesh.types import Address
from simulator.real.paths import Medium, Path, Use
from simulator.real.shaper import Shaper

WAYS = "MESH_WAYS"
"""Environment variable of an agent: a JSON object from where others listen to where it dials them."""

_BITS = 8
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Link:
    """What lies between two devices."""

    delay_s: float
    """One way; 0 is loopback as it is, without a proxy."""
    rate_bps: float = 400e6
    """Of each direction."""

    @property
    def is_loopback(self) -> bool:
        """Whether nothing lies between."""
        return self.delay_s == 0


LOOPBACK = Link(0.0)


@dataclass(frozen=True, slots=True)
class Hop:
    """A device dials another."""

    source: str
    target: str
    address: Address
    """Where the other listens."""


@asynccontextmanager
async def shaped(link: Link, hops: Sequence[Hop]) -> AsyncIterator[tuple[Address, ...]]:
    """Where to dial for each hop: the other itself on loopback, otherwise a proxy of that link."""
    if link.is_loopback:
        yield tuple(hop.address for hop in hops)
        return
    wanted = json.dumps(
        {
            "delay_s": link.delay_s,
            "rate_bps": link.rate_bps,
            "hops": [[hop.source, hop.target, str(hop.address)] for hop in hops],
        }
    )
    words = (sys.executable, "-m", "benchmarks.beside.links", wanted)
    async with running(Command("the link shaper", words)) as process:
        yield tuple(Address.parse(text) for text in json.loads(await process.line()))


def free_address() -> Address:
    """A port of this machine that nobody uses now."""
    with socket.create_server((_LOOPBACK, 0)) as probe:
        return Address(_LOOPBACK, int(probe.getsockname()[1]))


def paths_for(link: Link, hops: Sequence[Hop]) -> dict[tuple[str, str], Path]:
    """A path each way for every pair of devices; no two directions share a medium."""
    ends = {(hop.source, hop.target): None for hop in hops} | {(hop.target, hop.source): None for hop in hops}
    return {pair: _path(link, pair) for pair in ends}


def _path(link: Link, pair: tuple[str, str]) -> Path:
    use = Use(Medium(), _BITS / link.rate_bps)
    return Path(*pair, (use,), link.delay_s, 0.0, random.Random(0))


def main() -> None:
    """Serve the hops of the command line until standard input ends."""
    wanted = json.loads(sys.argv[1])
    link = Link(wanted["delay_s"], wanted["rate_bps"])
    hops = [Hop(source, target, Address.parse(text)) for source, target, text in wanted["hops"]]
    with Shaper(paths_for(link, hops)) as shaper:
        doors = [shaper.open(hop.source, hop.target, hop.address) for hop in hops]
        print(json.dumps([str(door) for door in doors]), flush=True)  # noqa: T201  read by `shaped`
        sys.stdin.read()


if __name__ == "__main__":
    main()
