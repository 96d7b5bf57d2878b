"""Links between the devices of a benchmark."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.beside.links import LOOPBACK, Hop, Link, free_address, paths_for, shaped
from mesh.now import now_s
from mesh.types import Address

HOPS = [Hop("a", "b", Address("127.0.0.1", 1)), Hop("b", "a", Address("127.0.0.1", 2))]


def test_each_direction_of_each_pair_has_a_medium_of_its_own() -> None:
    paths = paths_for(Link(0.001), HOPS)
    assert sorted(paths) == [("a", "b"), ("b", "a")]
    assert len({id(path.uses[0].medium) for path in paths.values()}) == 2


def test_a_link_costs_its_delay_and_its_rate() -> None:
    path = paths_for(Link(0.0025, rate_bps=400e6), HOPS)["a", "b"]
    assert path.arrival_s(50_000, 1.0) == pytest.approx(1.0 + 0.0025 + 0.001)


async def test_loopback_has_no_proxy() -> None:
    async with shaped(LOOPBACK, HOPS) as doors:
        assert doors == tuple(hop.address for hop in HOPS)


@pytest.mark.real
@pytest.mark.slow
async def test_a_shaped_hop_takes_its_delay_each_way() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    hop = Hop("client", "server", free_address())
    serving = await asyncio.start_server(echo, hop.address.host, hop.address.port)
    async with serving, shaped(Link(0.05), [hop]) as (door,):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        writer.write(b"once\n")  # the connection's own round trips
        await reader.readline()
        began_s = now_s()
        writer.write(b"twice\n")
        await reader.readline()
        assert 0.1 <= now_s() - began_s < 0.5
        writer.close()
        await writer.wait_closed()
