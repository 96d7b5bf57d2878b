"""The sessions at one worker: each with its place in its route, its cache, and the rows that it keeps.

Owns what a stage does with what comes for a session, and when it frees one. Must not know how stages get into
memory, nor in which order work is done: `mesh.roles.worker` calls one method after the other.

Nothing that a device upstream or downstream does ends a session here. Only its gateway does, or the gateway's
absence: a place whose gateway is gone is kept for `Timing.linger_s`, because the client may turn to another
one, and one whose upstream hop is gone asks the gateway now and then whether it is still wanted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from mesh.config import MAX_KEPT_BYTES
from mesh.errors import Busy, MeshError, NetworkError, StageLost, StageNotLoaded, UnknownSession
from mesh.link import Link
from mesh.logic.pace import Pace
from mesh.logic.relay import Rewound, Rows
from mesh.messages import (
    CloseSession,
    Frame,
    OpenSession,
    Progress,
    ProgressRequest,
    Resume,
    SessionFailed,
    Token,
)
from mesh.now import now_s
from mesh.ports import Sampled, Step
from mesh.roles.place import Means, Place, lost_hop
from mesh.types import CacheKey, Hidden, NodeId, SessionId, StageKey

_FENCES = 1024  # sessions that are over, of which something may still be under way


class Places:
    """All sessions at this node."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._places: dict[CacheKey, Place] = {}
        self._fences: dict[SessionId, int] = {}
        """Epochs of sessions that were not opened, or are over: nothing of them, or older, is taken."""
        self._kept: dict[CacheKey, Place] = {}
        """Those that keep rows, from the least recently used to the most."""
        self._paces: dict[StageKey, Pace] = {}
        self._working: tuple[float, float] | None = None
        """Since when a frame is computed, and how long such a one takes as a rule."""

    @property
    def all(self) -> tuple[Place, ...]:
        """The places that exist now."""
        return tuple(self._places.values())

    def of(self, session_id: SessionId) -> list[Place]:
        """The places of one session."""
        return [place for place in self._places.values() if place.opening.session_id == session_id]

    async def open(self, opening: OpenSession, upstream: Link) -> None:
        """Give a session its place, or take up the one that it has under a new epoch; pass the opening on.

        Raises StageNotLoaded, Busy, StageLost.
        """
        place = self._places.get(CacheKey(opening.session_id, opening.route[opening.index].key))
        if place is not None and place.opening.epoch >= opening.epoch:
            return
        if self._is_fenced(opening.session_id, opening.epoch):
            return  # it was overtaken by its own closing
        await self._leave_others(opening)
        if place is None:
            place = await self._allot(opening, upstream)
        place.opening, place.upstream = opening, upstream
        place.orphaned_s, place.is_abandoned, place.heard_s = None, False, now_s()
        self._means.attention.attend(place.cache, self._neighbours(place))
        if opening.epoch > 0:
            await self._say(place, self._reopened(place, opening.known))
            await self.repeat_tokens(place, opening.known)
        await self._pass_on(place, replace(opening, index=opening.index + 1))

    async def run(self, frame: Frame) -> None:
        """Compute a frame and pass on what comes out; frames of an older epoch are dropped.

        Raises UnknownSession, StageLost, and what the compute raises.
        """
        place = self._place_of(frame)
        if place is None or not place.relay.takes(frame.start):
            return
        num_rows, place.heard_s = place.num_rows(frame.payload), now_s()
        place.taken_back_to(frame.start)
        match await self._compute(place, frame, num_rows):
            case Hidden(data):
                batch = place.relay.computed(Rows(frame.start, num_rows, data, frame.sample))
                await self._send_on(place, batch)
                self._kept.pop(place.cache, None)
                self._kept[place.cache] = place
                self.limit_kept()
            case Sampled(position, token):
                place.relay.advanced(position)
                place.drawn[position] = token
                await self.tell_gateway(place.opening, Token(frame.session_id, frame.epoch, position, token))
            case None:
                place.relay.advanced(frame.start + num_rows)

    async def resume(self, message: Resume) -> None:
        """The next hop says where its cache ends: send it what it lacks, or have that made anew."""
        for place in self.of(message.session_id):
            if place.is_at(message.session_id, message.epoch, message.index - 1):
                answer = place.relay.resumed(message.position)
                if isinstance(answer, Rewound):
                    await self._say(place, answer)
                else:
                    await self._send_on(place, answer)

    async def close(self, closing: CloseSession) -> None:
        """Free a session where its epoch is not newer.

        Said by the gateway to every stage itself. It is not passed on: the next stage may be wanted still.
        """
        self.fence(closing.session_id, closing.epoch)
        for place in self.of(closing.session_id):
            if place.opening.epoch <= closing.epoch:
                await self.release(place)

    async def abandon(self, session_id: SessionId) -> None:
        """Free a session that nobody has taken up again, and have the stages behind do the same."""
        for place in self.of(session_id):
            if place.orphaned_s is not None:
                await self.release(place)
                with contextlib.suppress(StageLost):
                    await self._pass_on(place, CloseSession(session_id, place.opening.epoch))

    async def release(self, place: Place) -> None:
        """Free one place."""
        if self._places.pop(place.cache, None) is not place:
            return
        self._kept.pop(place.cache, None)
        self._means.attention.neglect(place.cache)
        await self._means.compute.close(place.cache)
        self._means.ledger.drop_cache(place.cache)

    def fence(self, session_id: SessionId, epoch: int) -> None:
        """Take nothing more of a session up to an epoch: it was refused, or is over."""
        self._fences[session_id] = max(epoch, self._fences.pop(session_id, epoch))
        if len(self._fences) > _FENCES:
            del self._fences[next(iter(self._fences))]

    def _is_fenced(self, session_id: SessionId, epoch: int) -> bool:
        return self._fences.get(session_id, -1) >= epoch

    def progress(self, request: ProgressRequest) -> Progress:
        """Say how far a session is, and how long this node has been at what it computes now."""
        since_s, usual_s = self._working or (now_s(), 0.0)
        at = (request.session_id, request.epoch, request.index)
        lengths = (place.relay.length for place in self.of(request.session_id) if place.is_at(*at))
        return Progress(*at, next(lengths, 0), now_s() - since_s, usual_s)

    def wanted(self, session_id: SessionId) -> None:
        """Somebody asks for a session: where nobody drives it, it is kept a while longer."""
        for place in self.of(session_id):
            if place.orphaned_s is not None:
                place.orphaned_s = now_s()

    async def ask_gateway(self, place: Place) -> None:
        """Say how far a session is: a gateway that has given it up, and could not tell us, tells us now."""
        place.heard_s = now_s()
        opening = place.opening
        asking = ProgressRequest(opening.session_id, opening.epoch, opening.index)
        await self.tell_gateway(opening, self.progress(asking))

    def failure(self, message: OpenSession | Frame | Resume, error: MeshError) -> SessionFailed:
        """Put into a message what went wrong with one."""
        lost = NodeId(error.lost) if isinstance(error, StageLost) and error.lost else None
        own = self._means.node_id
        return SessionFailed(message.session_id, message.epoch, own, error.code, str(error), lost)

    async def _allot(self, opening: OpenSession, upstream: Link) -> Place:
        means, key = self._means, opening.route[opening.index].key
        if not means.ledger.has_stage(key):
            raise StageNotLoaded(f"layers {key.span} are not loaded here any more; ask again")
        spec = await means.library.spec_of(key.digest)
        place = Place(opening, upstream, spec.row_bytes(key.precision))
        cache_bytes = spec.cache_bytes(key.span, opening.context, key.precision)
        doomed = await self._book(place.cache, cache_bytes)
        self._places[place.cache] = place
        self.limit_kept()
        try:
            await self.unload(doomed)
            self._working = (now_s(), 0.0)  # an engine that has just started takes seconds to answer
            await means.compute.open(place.cache, opening.context, opening.sampling)
        except BaseException:
            await self.release(place)
            raise
        finally:
            self._working = None
        return place

    def _reopened(self, place: Place, known: int) -> Rewound:
        """Where the cache ends; at the last stage before the row whose token is wanted and not known here."""
        rewound = place.relay.reopen(known)
        if place.next_hop is None and place.relay.length >= known > 0 and known not in place.drawn:
            return place.relay.take_back(known - 1)
        return rewound

    async def unload(self, doomed: Sequence[StageKey]) -> None:
        """Free stages that the books have given up already."""
        for key in doomed:
            try:
                await self._means.compute.unload(key)
            finally:
                self._means.ledger.stage_left(key)

    async def _leave_others(self, opening: OpenSession) -> None:
        """Free what this node had of a session by an older route, and has no more."""
        route = opening.route
        keys = [hop.key for hop in route if hop.node_id == self._means.node_id]
        for place in self.of(opening.session_id):
            if place.opening.epoch < opening.epoch and place.cache.stage not in keys:
                await self.release(place)

    async def _book(self, cache: CacheKey, cache_bytes: int) -> list[StageKey]:
        """Book a cache; those whose gateway is gone make room first, the longest gone before the others."""
        abandoned = [place for place in self.all if place.is_abandoned]
        for place in sorted(abandoned, key=lambda p: p.orphaned_s or 0.0):
            try:
                return self._means.ledger.book_cache(cache, cache_bytes)
            except Busy:
                await self.release(place)
        return self._means.ledger.book_cache(cache, cache_bytes)

    def _place_of(self, frame: Frame) -> Place | None:
        """Return the place that a frame is for; None for a frame that is old or was refused."""
        places = self.of(frame.session_id)
        for place in places:
            if place.is_at(frame.session_id, frame.epoch, frame.index):
                return place
        if any(place.opening.epoch > frame.epoch for place in places):
            return None
        if self._is_fenced(frame.session_id, frame.epoch):
            return None
        raise UnknownSession(f"a frame of session {frame.session_id}, which is not open here")

    async def _compute(self, place: Place, frame: Frame, num_rows: int) -> Hidden | Sampled | None:
        pace, began_s = self._paces.setdefault(place.cache.stage, Pace()), now_s()
        self._working = (began_s, pace.usual_s(num_rows))
        try:
            step = Step(place.cache, frame.start, frame.payload, frame.sample)
            result = await self._means.compute.run(step)
        finally:
            self._working = None
        pace.measured(num_rows, now_s() - began_s)
        return result

    async def _send_on(self, place: Place, batch: list[Rows]) -> None:
        opening = place.opening
        for rows in batch:
            following = Frame(
                session_id=opening.session_id,
                epoch=opening.epoch,
                index=opening.index + 1,
                start=rows.start,
                payload=Hidden(rows.data),
                sample=rows.sample,
            )
            await self._pass_on(place, following)

    async def _say(self, place: Place, rewound: Rewound) -> None:
        """Tell the hop before, and the gateway, where the cache ends."""
        opening = place.opening
        resume = Resume(opening.session_id, opening.epoch, opening.index, rewound.position, rewound.had)
        with contextlib.suppress(NetworkError):  # it is gone: whoever notices tells the gateway
            await place.upstream.send(resume)
        if opening.index > 0 and (
            place.upstream.node is None or place.upstream.node.address != opening.gateway
        ):
            await self.tell_gateway(opening, resume)

    async def repeat_tokens(self, place: Place, start: int) -> None:
        """Tell the gateway what was drawn from a position on: it may not have heard, or be another one."""
        opening = place.opening
        wanted = takewhile(lambda drawn: drawn[0] >= start, reversed(place.drawn.items()))
        for position, token in reversed(list(wanted)):
            await self.tell_gateway(opening, Token(opening.session_id, opening.epoch, position, token))

    async def _pass_on(self, place: Place, message: OpenSession | Frame | CloseSession) -> None:
        hop = place.next_hop
        if hop is None:
            return
        try:
            await self._means.peers.post(hop.address, message)
        except NetworkError as error:
            raise lost_hop(hop, error) from error

    async def tell_gateway(
        self, opening: OpenSession, message: Token | Resume | Progress | SessionFailed
    ) -> None:
        """Send something to the gateway of a session; that it is gone is noticed in other ways."""
        with contextlib.suppress(NetworkError):
            await self._means.peers.post(opening.gateway, message)

    def _neighbours(self, place: Place) -> list[NodeId]:
        nodes = [place.opening.gateway_id]
        if place.next_hop:
            nodes.append(place.next_hop.node_id)
        if place.upstream_id:
            nodes.append(place.upstream_id)
        return nodes

    def limit_kept(self) -> None:
        """Keep rows only in memory that nobody needs; the least recently used are forgotten first."""
        ledger = self._means.ledger
        free_bytes = ledger.budget_bytes - ledger.used_bytes
        excess = sum(place.relay.kept_bytes for place in self._kept.values()) - min(
            free_bytes, MAX_KEPT_BYTES
        )
        for cache, place in tuple(self._kept.items()):
            if excess <= 0:
                return
            excess -= place.relay.kept_bytes
            place.relay.forget()
            del self._kept[cache]
