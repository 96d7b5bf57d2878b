"""What this machine itself costs: a message from process to process, and a wait of the throttle.

Owns the measuring, through the same transport, codec and shaper as a run, with paths that cost nothing. Run
as `python -m simulator.real.probe` this file is the other process, which sends back whatever it gets.
"""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.errors import ChannelClosed
from mesh.messages import Frame
from mesh.ports import Channel
from mesh.types import Address, Hidden, SessionId
from mesh.wire.codec import decode, encode
from simulator.real.clock import now_s, precise_loop, wait_until
from simulator.real.host_costs import HostCosts
from simulator.real.paths import Path
from simulator.real.shaper import Shaper

_LOOPBACK = Address("127.0.0.1", 0)
_GAP_S = 0.012  # between pings, as between tokens: a machine that idled wakes up more slowly
_SMALL_BYTES, _LARGE_BYTES = 1_152, 46_080  # hidden states of 1 and of 40 positions of a small model
_NUM_PINGS = 60
_WAIT_S = 0.008


async def measure_host() -> HostCosts:
    """Measure for about 2 seconds; the machine should be quiet."""
    async with _echo() as channel:
        small_s = await _one_way_s(channel, _SMALL_BYTES)
        large_s = await _one_way_s(channel, _LARGE_BYTES)
    byte_s = max(large_s - small_s, 0.0) / (_LARGE_BYTES - _SMALL_BYTES)
    return HostCosts(small_s - byte_s * _SMALL_BYTES, byte_s, await _late_s())


def free_paths(names: Sequence[str]) -> dict[tuple[str, str], Path]:
    """Paths between all of these that cost nothing."""
    pairs = [(source, target) for source in names for target in names if source != target]
    return {pair: Path(*pair, (), 0.0, 0.0, random.Random(0)) for pair in pairs}


@asynccontextmanager
async def _echo() -> AsyncIterator[Channel]:
    """A channel through the shaper to a process that sends everything back; afterwards it is gone."""
    words = (sys.executable, "-m", "simulator.real.probe")
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE, process_group=0)
    try:
        assert process.stdout is not None
        address = Address.parse((await process.stdout.readline()).decode().strip())
        with Shaper(free_paths(("here", "there"))) as shaper:
            way = shaper.open("here", "there", address)
            assert way is not None
            channel = await GrpcTransport().dial(way)
            yield channel
            await channel.close()
    finally:
        process.kill()
        await process.wait()


async def _one_way_s(channel: Channel, num_bytes: int) -> float:
    """The median of half a round trip."""
    frame = Frame(SessionId("0" * 16), 0, 0, 0, Hidden(bytes(num_bytes)), sample=True)
    trips_s = []
    for _ in range(_NUM_PINGS):
        await asyncio.sleep(_GAP_S)
        began_s = now_s()
        await channel.send(encode(frame))
        decode(await channel.receive())
        trips_s.append(now_s() - began_s)
    return median(trips_s) / 2


async def _late_s() -> float:
    late_s = []
    for _ in range(_NUM_PINGS):
        due_s = now_s() + _WAIT_S
        await wait_until(due_s)
        late_s.append(now_s() - due_s)
    return median(late_s)


async def _serve() -> None:
    listener = await GrpcTransport().listen(_LOOPBACK)
    sys.stdout.write(f"{listener.address}\n")
    sys.stdout.flush()
    channel = await listener.accept()
    try:
        while (message := decode(await channel.receive())) is not None:
            await channel.send(encode(message))
    except ChannelClosed:
        await listener.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_serve())
