"""Which gateways a client may ask, and in which order.

Owns the one that is asked now and the ways to others. Must not know what is asked of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from mesh.config import Timing
from mesh.errors import MeshError, NodeLeaving, PeerUnreachable
from mesh.link import Link
from mesh.types import NodeId, NodeRecord

Open = Callable[[], Awaitable[Link]]
"""Opens a link to one certain node; raises as `open_link`."""

OpenNode = Callable[[NodeRecord], Awaitable[Link]]
"""Opens a link to the node of a record; raises as `open_link`."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A gateway that answered."""

    record: NodeRecord
    link: Link
    open: Open
    """Opens another link to it."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a gateway that is not known before it answers: an address, or discovery."""

    name: str
    """What it is called where it fails."""
    reach: Callable[[Collection[NodeId]], Awaitable[Reached]]
    """Reaches a gateway, if possible none of those nodes; raises NetworkError."""


class Gateways:
    """The gateway of a client, and those that may take its place."""

    def __init__(
        self, first: NodeRecord, opened: Open, open_node: OpenNode | None = None, ways: Sequence[Way] = ()
    ) -> None:
        self.current = first
        """The node that is asked."""
        self._opened = opened
        self._open_node = open_node
        self._ways = tuple(ways)
        self._named: tuple[NodeRecord, ...] = ()

    def named(self, records: Iterable[NodeRecord]) -> None:
        """Take note of the gateways that one has named, in place of those before."""
        self._named = tuple(records)

    async def open(self) -> Reached:
        """Open a link to the current gateway, or where it does not answer to another, now the current one.

        Raises what was wrong with the current one where nobody answers, with the names of who was tried.
        """
        own = _node_way(self.current, self._opened)
        timing = Timing()
        race = Race(frozenset(), timing.client_ask_s + timing.client_lost_s)
        reached = await race.run([own, *self._others({self.current.node_id})])
        if reached is None:
            raise nobody_answers(race.failures[own], [way.name for way in race.failures if way is not own])
        return self._follow(reached)

    async def another(self, failed: Reached, gone: Collection[NodeId]) -> Reached | tuple[str, ...]:
        """Turn to a gateway that is not gone; where none answers, return the names of who was tried.

        In this order: the current one where that is another by now, those that a gateway has named, the
        client's own ways, and at last the one that failed, because maybe only the link did.
        """
        ways = self._others({*gone, failed.record.node_id})
        if failed.record.node_id not in gone:
            ways.append(_node_way(failed.record, failed.open))
        race = Race(gone, Timing().client_ask_s)
        reached = await race.run(ways)
        return (
            tuple(way.name for way in ways if way in race.failures)
            if reached is None
            else self._follow(reached)
        )

    async def visit(self, record: NodeRecord) -> Link:
        """Open a link to one certain node, whoever is the gateway."""
        if record.node_id == self.current.node_id:
            return await self._opened()
        if self._open_node is None:
            raise PeerUnreachable(f"this client has no way to {record.name}; connect to that device itself")
        return await self._open_node(record)

    def _others(self, but: Collection[NodeId]) -> list[Way]:
        own = [] if self.current.node_id in but else [_node_way(self.current, self._opened)]
        return [*own, *self._named_ways({*but, self.current.node_id}), *self._ways]

    def _named_ways(self, but: Collection[NodeId]) -> list[Way]:
        open_node = self._open_node
        if open_node is None:
            return []
        return [_node_way(r, partial(open_node, r)) for r in self._named if r.node_id not in but]

    def _follow(self, reached: Reached) -> Reached:
        self.current, self._opened = reached.record, reached.open
        return reached


async def first_reached(ways: Sequence[Way]) -> Reached:
    """Reach the first of some gateways that answers, in their order; at least one way.

    Raises what was wrong with the first, or with another that answered and is of no use.
    """
    race = Race(frozenset(), Timing().client_ask_s)
    reached = await race.run(ways)
    if reached is not None:
        return reached
    failures = [race.failures[way] for way in ways]
    worst = next((error for error in failures if not isinstance(error, PeerUnreachable)), failures[0])
    raise nobody_answers(worst, [way.name for way in ways[1:]])


def nobody_answers(error: MeshError, tried: Sequence[str]) -> MeshError:
    """Add to the error of one gateway that others did not answer either; tried are their names."""
    if not tried or not isinstance(error, PeerUnreachable | NodeLeaving):
        return error
    what, _, _ = str(error).partition(";")
    names = ", ".join(dict.fromkeys(tried))
    return PeerUnreachable(f"{what}, and no other gateway answered (tried {names}); ask again")


def _node_way(record: NodeRecord, opened: Open) -> Way:
    async def reach(_: Collection[NodeId]) -> Reached:
        return Reached(record, await opened(), opened)

    return Way(record.name, reach)


class Race:
    """Tries ways in their order, without waiting long for any: the first that answers wins.

    The next is tried as soon as all before it have failed, or after a time, because one that is frozen or
    cut off fails late (as in RFC 8305, Happy Eyeballs).
    """

    def __init__(self, gone: Collection[NodeId], head_start_s: float) -> None:
        self._gone = gone
        self._head_start_s = head_start_s
        self._changed = asyncio.Event()
        self._num_over = 0
        self._reached: Reached | None = None
        self.failures: dict[Way, MeshError] = {}
        """What went wrong, in order of failing."""

    async def run(self, ways: Sequence[Way]) -> Reached | None:
        """Return the first that is reached, or None; cancelled, no link stays open."""
        try:
            async with asyncio.TaskGroup() as tasks:
                trying = await self._start(ways, tasks)
                await self._settled(len(trying))
                for task in trying:
                    task.cancel()
        except BaseException:
            if self._reached is not None:
                await self._reached.link.close()
            raise
        return self._reached

    async def _start(self, ways: Sequence[Way], tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        trying: list[asyncio.Task[None]] = []
        for way in ways:
            trying.append(tasks.create_task(self._try(way)))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._head_start_s):
                    await self._settled(len(trying))
            if self._reached is not None:
                break
        return trying

    async def _settled(self, num_tried: int) -> None:
        """Wait until one is reached, or all that were tried have failed."""
        while self._reached is None and self._num_over < num_tried:
            self._changed.clear()
            await self._changed.wait()

    async def _try(self, way: Way) -> None:
        try:
            reached = await way.reach(self._gone)
            if self._reached is None and reached.record.node_id not in self._gone:
                self._reached = reached
            else:
                await reached.link.close()  # another was faster, or it is the one that was lost
        except MeshError as error:
            self.failures[way] = error
        finally:
            self._num_over += 1
            self._changed.set()
