"""One agent of process mode: a node put together from real parts, throttled and shaped.

Run as `python -m simulator.real.agent SETTINGS`, settings being one JSON object (`control.AgentSettings`);
orders come as lines on standard input, news go out as lines on standard output. Owns that no agent outlives
its household: it ends when its standard input does, whatever else happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.ports import Sighting
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.types import Address, CacheKey, Digest, NodeRecord, Precision, SessionId, Span, StageKey
from simulator.real.clock import now_s, precise_loop
from simulator.real.control import (
    AgentSettings,
    Control,
    Listening,
    News,
    Ready,
    Routes,
    Slow,
    Surround,
    Unplug,
    agent_record,
    to_line,
)
from simulator.real.engines import RunningEngine, running_engine
from simulator.real.routes import RoutedTransport

_LOOPBACK = Address("127.0.0.1", 0)
_END_S = 5.0  # for an orderly end once standard input has ended; then the process goes as it is
_NOTHING = CacheKey(SessionId("0" * 16), StageKey(Digest("0" * 64), Span(0, 1), Precision.INT4))

_control = msgspec.json.Decoder(Control)


class NoDiscovery:
    """The Discovery port where nobody announces anything: the household tells each agent of the others."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def announce(self, record: NodeRecord) -> None:
        """Tell nobody."""

    async def withdraw(self) -> None:
        """Nothing was announced."""

    async def watch(self) -> AsyncGenerator[Sighting]:
        """Yield nothing until closed; see the port."""
        await self._closed.wait()
        nobody: tuple[Sighting, ...] = ()
        for sighting in nobody:
            yield sighting

    async def close(self) -> None:
        """End every watch; see the port."""
        self._closed.set()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What orders act upon."""

    transport: RoutedTransport
    engine: RunningEngine
    node: Node

    async def obey(self, orders: asyncio.StreamReader) -> None:
        """Follow orders to their end, which ends the node."""
        while line := await orders.readline():
            self._follow(_control.decode(line))
        self.node.stop()
        _end_at_last()

    def _follow(self, order: Control) -> None:
        processor = self.engine.processor
        match order:
            case Routes() as routes:
                self.transport.add(routes.parsed)
            case Slow(factor):
                processor.slow_down(factor)
            case Surround(degrees_c):
                processor.surround(now_s(), degrees_c)
            case Unplug(True, level):
                processor.unplug(now_s(), level)
            case Unplug():
                processor.plug_in(now_s())


async def run_agent(settings: AgentSettings) -> None:
    """Run until SIGTERM or the end of standard input; then leave the mesh."""
    transport = RoutedTransport(GrpcTransport())
    listener = await transport.listen(_LOOPBACK)
    orders = await _standard_input()
    _say(Listening(str(listener.address)))
    peers = await _first_routes(orders, transport)
    if peers is None:
        return await listener.close()
    with running_engine(settings) as engine:
        record = agent_record(settings, listener.address)
        ports = Ports(transport, NoDiscovery(), engine.compute, engine.library)
        node = Node(record, listener, ports, NodeSettings(settings.memory_bytes, peers, settings.timing))
        await _run(_Parts(transport, engine, node), orders)
        _say(engine.report())


async def _run(parts: _Parts, orders: asyncio.StreamReader) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, parts.node.stop)
    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(parts.obey(orders)), tasks.create_task(_tell_ready(parts.engine))]
        await parts.node.run()
        for task in others:
            task.cancel()


async def _tell_ready(engine: RunningEngine) -> None:
    """Be as a device that has been on for a while: the engine is imported, and the tokenizers are read."""
    await engine.compute.close(_NOTHING)  # waits for the engine
    for model in engine.library.models():
        await engine.library.codec(model.name)
    _say(Ready())


async def _first_routes(
    orders: asyncio.StreamReader, transport: RoutedTransport
) -> tuple[Address, ...] | None:
    """Learn the ways to those who are here already; None where the household is gone."""
    line = await orders.readline()
    if not line:
        return None
    routes = _control.decode(line)
    assert isinstance(routes, Routes)
    transport.add(routes.parsed)
    return tuple(address for address, way in routes.parsed.items() if way is not None)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    return reader


def _say(news: News) -> None:
    with contextlib.suppress(BrokenPipeError):  # the household is gone; standard input says so too
        sys.stdout.buffer.write(to_line(news))
        sys.stdout.buffer.flush()


def _end_at_last() -> None:
    """End this process in any case, though a thread may hang."""
    timer = threading.Timer(_END_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def main() -> None:
    """Run the agent that the command line describes."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    settings = msgspec.json.decode(sys.argv[1], type=AgentSettings)
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(run_agent(settings))


if __name__ == "__main__":
    main()
