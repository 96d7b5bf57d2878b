"""Looks after sessions whose hops or gateway are gone: tells who must know, and frees what nobody wants.

Owns who is told of which loss, and how long a session is kept without anybody who drives it. Must not know
what a stage does with a session; that is `mesh.roles.places`.

The hop behind a lost one keeps its part: the gateway will open another route to it. If the gateway itself is
gone, its client may turn to another one. Whatever a closing could not reach is found by asking: a session of
which nothing was heard for a while asks its gateway, and one that is over is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from mesh.config import Timing
from mesh.errors import MeshError, StageLost
from mesh.link import Link
from mesh.logic.membership import Change
from mesh.now import now_s
from mesh.roles.place import Place, lost_hop
from mesh.roles.places import Places
from mesh.types import Address, SessionId

_SWEEP_S = 0.5  # between two looks at sessions
_QUIET_S = 3.0  # after which a session that heard nothing asks; no stage works so long without a frame
_TELL_AGAIN_S = 0.05  # where a gateway's process ended it refuses at once: not again and again


class Caretaker:
    """The caretaker of one worker's sessions."""

    def __init__(self, places: Places, timing: Timing, abandon: Callable[[SessionId], None]) -> None:
        """`abandon` has a session freed when it is its turn in the order of work."""
        self._places = places
        self._timing = timing
        self._abandon = abandon
        self._tasks: asyncio.TaskGroup | None = None
        self._is_sweeping = False
        self._telling_again: dict[Address, None] = {}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Work from now on, in tasks of this group."""
        self._tasks = tasks

    def stop(self) -> None:
        """Begin nothing any more."""
        self._tasks = None

    def look_after(self) -> None:
        """There is a session: look after it until there is none."""
        if not self._is_sweeping and self._tasks is not None:
            self._is_sweeping = True
            self._start(self._sweep())

    def link_closed(self, link: Link) -> None:
        """Whoever sent sessions over a link is gone, or will come over another one."""
        self._orphan([place for place in self._places.all if place.upstream is link])

    def node_changed(self, change: Change) -> None:
        """Take news of a node: gateways are told of hops that are gone; without a gateway sessions end."""
        lost, gone = change.loss, change.record
        if lost is None:
            return
        for place in self._places.all:
            if place.opening.gateway_id == gone.node_id:
                place.is_abandoned = True
                self._orphan([place])
            elif place.upstream_id == gone.node_id:
                self._orphan([place])
            if place.next_hop and place.next_hop.node_id == gone.node_id:
                self._report_lost(place, StageLost(str(lost), gone.node_id))

    def peer_broken(self, address: Address, error: MeshError) -> None:
        """A link of ours broke: next hops are gone, and gateways may not have heard the last."""
        is_gateway = False
        for place in self._places.all:
            if place.opening.gateway == address:
                is_gateway = True
            elif place.next_hop and place.next_hop.address == address:
                self._report_lost(place, lost_hop(place.next_hop, error))
        if is_gateway and address not in self._telling_again:
            self._telling_again[address] = None
            self._start(self._tell_again(address, error))

    async def _tell_again(self, gateway: Address, error: MeshError) -> None:
        await asyncio.sleep(_TELL_AGAIN_S)
        del self._telling_again[gateway]
        for place in self._places.all:
            if place.opening.gateway == gateway:
                if place.next_hop and place.next_hop.address == gateway:
                    self._report_lost(place, lost_hop(place.next_hop, error))
                if place.drawn:
                    await self._places.passing.repeat_tokens(place, max(place.drawn))

    def _report_lost(self, place: Place, error: StageLost) -> None:
        """Tell the gateway; what is said is of the epoch of now, though it may be sent in the next."""
        if not place.is_abandoned:
            failure = self._places.passing.failure(place.opening, error)
            self._start(self._places.passing.tell_gateway(place.opening, failure))

    def _orphan(self, places: list[Place]) -> None:
        """Nobody is known who drives these sessions, until somebody says that he does."""
        for place in places:
            if place.orphaned_s is None:
                place.orphaned_s = now_s()
            if place.opening.index == 0:
                place.is_abandoned = True  # the hop before it is the gateway

    async def _sweep(self) -> None:
        while places := self._places.all:
            for place in places:
                if place.orphaned_s is not None:
                    self._look_at_orphan(place, now_s() - place.orphaned_s)
                elif now_s() - place.heard_s >= _QUIET_S:
                    await self._places.ask_gateway(place)
            await asyncio.sleep(_SWEEP_S)
        self._is_sweeping = False

    def _look_at_orphan(self, place: Place, age_s: float) -> None:
        """Free an orphan whose gateway is gone; of another ask the gateway whether it is wanted."""
        if age_s >= (self._timing.linger_s if place.is_abandoned else self._timing.stall_s):
            self._abandon(place.opening.session_id)
        elif place.upstream_id and age_s >= _SWEEP_S:
            self._report_lost(place, StageLost("the hop before has gone away; ask again", place.upstream_id))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        if self._tasks is None:
            work.close()  # the node is about to end
        else:
            self._tasks.create_task(work)
