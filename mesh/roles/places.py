"""The sessions at one worker: each with its place in its route, its cache, and the rows that it keeps.

Owns what a stage does with what comes for a session, and when it frees one. Must not know how stages get into
memory, nor in which order work is done: `mesh.roles.worker` calls one method after the other.

A session that has ended leaves its caches where its gateway says so: they are parked, and a later session may
begin with what both have in common. Parked caches make room for whatever else needs it.

Nothing that a device upstream or downstream does ends a session here. Only its gateway does, or the gateway's
absence: a place whose gateway is gone is kept for `Timing.linger_s`, because the client may turn to another
one, and one whose upstream hop is gone asks the gateway now and then whether it is still wanted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace

from mesh.errors import (
    Busy,
    InternalError,
    MeshError,
    StageLost,
    StageNotLoaded,
    UnknownSession,
)
from mesh.link import Link
from mesh.logic.batching import Size
from mesh.logic.memory import Doomed
from mesh.logic.pace import RunningMean
from mesh.logic.relay import Rewound, Rows
from mesh.logic.speculation import MOST_WANTED
from mesh.messages import (
    CloseSession,
    Frame,
    OpenSession,
    Progress,
    ProgressRequest,
    Resume,
    Token,
)
from mesh.now import now_s
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.roles.caches import Caches
from mesh.roles.passing import Passing
from mesh.roles.place import Means, Place
from mesh.types import CacheKey, Hidden, NodeId, SessionId

_log = logging.getLogger(__name__)

_FENCES = 1024  # sessions that are over, of which something may still be under way
_UNKNOWN_STAY_S = 5.0  # after which somebody who found no room may try again, where no session has ended yet


class Places:
    """All sessions at this node."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.caches = Caches(means)
        """The memory that they share with what is idle."""
        self.passing = Passing(means.node_id, means.peers)
        """What the places say to other nodes."""
        self._places: dict[CacheKey, Place] = {}
        self._fences: dict[SessionId, int] = {}
        """Epochs of sessions that were not opened, or are over: nothing of them, or older, is taken."""
        self._stay = RunningMean()
        """How long sessions last here."""

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
        if opening.epoch > 0 or opening.source is not None:
            await self.passing.say(place, _reopened(place))
            await self.passing.repeat_tokens(place, opening.known)
        await self.passing.pass_on(place, replace(opening, index=opening.index + 1))

    def size_of(self, frame: Frame) -> Size | None:
        """Where a frame runs, and how many rows it has; None for one that has no place here, or no rows."""
        place = self._at(frame.session_id, frame.epoch, frame.index)
        num_rows = place.num_rows(frame.payload) if place else 0
        return Size(place.hop.key, num_rows) if place and num_rows else None

    async def run(self, frames: Sequence[Frame]) -> list[MeshError | None]:
        """Compute frames of different sessions at one stage together, and pass on what comes out.

        Returns what went wrong with each: UnknownSession, StageLost, or what the compute says; None where
        nothing did. Frames of an older epoch are dropped.
        """
        taken = [self._taken(frame) for frame in frames]
        runs = [
            (frame, place) for frame, place in zip(frames, taken, strict=True) if isinstance(place, Place)
        ]
        results = iter(await self._compute(runs))
        return [
            await self._made(frame, place, next(results)) if isinstance(place, Place) else place
            for frame, place in zip(frames, taken, strict=True)
        ]

    def _taken(self, frame: Frame) -> Place | MeshError | None:
        """Return the place that is to compute a frame; None for one that is dropped."""
        try:
            place = self._place_of(frame)
        except UnknownSession as error:
            return error
        if place is None or not place.relay.takes(frame.start, frame.ahead):
            return None
        if frame.is_ahead and place.next_hop is None and place.drawn.get(frame.start) != frame.drafts[0]:
            return None  # another token was drawn than was guessed
        place.heard_s = now_s()
        place.taken_back_to(frame.start)
        return place

    async def _compute(self, runs: Sequence[tuple[Frame, Place]]) -> list[StepResult]:
        if not runs:
            return []
        steps = [_step(frame, place) for frame, place in runs]
        return await self._means.computing.run(steps, runs[0][1].row_bytes)

    async def _made(self, frame: Frame, place: Place, result: StepResult) -> MeshError | None:
        """Take what came out of a frame; return what went wrong."""
        try:
            await self._pass_result(frame, place, result)
        except MeshError as error:
            return error
        except Exception as error:
            _log.exception("session %s", frame.session_id)
            return InternalError(f"{type(error).__name__}: {error}; the node's log has more")
        return None

    async def _pass_result(self, frame: Frame, place: Place, result: StepResult) -> None:
        num_rows = place.num_rows(frame.payload)
        match result:
            case Hidden(data):
                batch = place.relay.computed(_rows(frame, num_rows, data))
                await self.passing.send_on(place, batch)
                await self.caches.keeps(place)
            case Sampled(position, token, more, guessed):
                place.relay.advanced(position + len(more))
                place.drawn.update(enumerate((token, *more), position))
                drawn = Token(frame.session_id, frame.epoch, position, token, more, guessed)
                await self.passing.tell_gateway(place.opening, drawn)
            case None:
                place.relay.advanced(frame.start + num_rows)
            case MeshError():
                raise result

    async def resume(self, message: Resume) -> None:
        """The next hop says where its cache ends: send it what it lacks, or have that made anew."""
        place = self._at(message.session_id, message.epoch, message.index - 1)
        if place is None:
            return
        answer = place.relay.resumed(message.position)
        if isinstance(answer, Rewound):
            await self.passing.say(place, answer)
        else:
            await self.passing.send_on(place, answer)

    async def close(self, closing: CloseSession) -> None:
        """Free a session where its epoch is not newer, or park it where that is said of this very epoch.

        Said by the gateway to every stage itself. It is not passed on: the next stage may be wanted still.
        """
        self.fence(closing.session_id, closing.epoch)
        for place in self.of(closing.session_id):
            if closing.is_parked and place.opening.epoch == closing.epoch and place.relay.length:
                await self._park(place)
            elif place.opening.epoch <= closing.epoch:
                await self.release(place)
        if not closing.is_parked:
            await self.caches.free_parked(closing.session_id)

    async def abandon(self, session_id: SessionId) -> None:
        """Free a session that nobody has taken up again, and have the stages behind do the same."""
        for place in self.of(session_id):
            if place.orphaned_s is not None:
                await self.release(place)
                with contextlib.suppress(StageLost):
                    await self.passing.pass_on(place, CloseSession(session_id, place.opening.epoch))

    async def release(self, place: Place) -> None:
        """Free one place."""
        if self._leave(place):
            await self._means.compute.close(place.cache)
            self._means.ledger.drop_cache(place.cache)
            self._means.attention.neglect(place.cache)

    async def _park(self, place: Place) -> None:
        """Free one place, and keep its cache while nobody needs the room."""
        if self._leave(place):
            doomed = self._means.ledger.park_cache(place.cache)
            self._means.attention.neglect(place.cache)
            await self.caches.free(doomed)

    def _leave(self, place: Place) -> bool:
        if self._places.pop(place.cache, None) is not place:
            return False
        self.caches.forget(place)
        self._stay.add(now_s() - place.opened_s)
        return True

    def fence(self, session_id: SessionId, epoch: int) -> None:
        """Take nothing more of a session up to an epoch: it was refused, or is over."""
        self._fences[session_id] = max(epoch, self._fences.pop(session_id, epoch))
        if len(self._fences) > _FENCES:
            del self._fences[next(iter(self._fences))]

    def _is_fenced(self, session_id: SessionId, epoch: int) -> bool:
        return self._fences.get(session_id, -1) >= epoch

    def progress(self, request: ProgressRequest) -> Progress:
        """Say how far a session is, and how long this node has been at what it computes now."""
        working_s, usual_s = self._means.computing.working_s
        at = (request.session_id, request.epoch, request.index)
        place = self._at(*at)
        return Progress(*at, place.relay.reached if place else 0, working_s, usual_s)

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
        await self.passing.tell_gateway(opening, self.progress(asking))

    @property
    def retry_after_s(self) -> float:
        """When a session that runs here may have ended, by how long they last as a rule."""
        usual_s = self._stay.seconds or _UNKNOWN_STAY_S
        return min((usual_s - (now_s() - place.opened_s) for place in self.all), default=usual_s)

    async def _allot(self, opening: OpenSession, upstream: Link) -> Place:
        means, key = self._means, opening.route[opening.index].key
        if not means.ledger.has_stage(key):
            raise StageNotLoaded(f"layers {key.span} are not loaded here any more; ask again")
        spec = await means.library.spec_of(key.digest)
        place = Place(opening, upstream, spec.row_bytes(key.precision), opened_s=now_s())
        await self.caches.free_parked(opening.session_id)  # it was over, and is not: one cache of a name
        cache_bytes = spec.cache_bytes(key.span, opening.context, key.precision)
        doomed = await self._book(place, cache_bytes)
        self._places[place.cache] = place
        try:
            await self.caches.free(doomed)
            await self.caches.limit_kept()
            length = await means.computing.open(
                place.cache, opening.context, opening.sampling, _prefix(place)
            )
        except BaseException:
            await self.release(place)
            raise
        place.relay.begin_with(length)
        return place

    async def _leave_others(self, opening: OpenSession) -> None:
        """Free what this node had of a session by an older route, and has no more."""
        route = opening.route
        keys = [hop.key for hop in route if hop.node_id == self._means.node_id]
        for place in self.of(opening.session_id):
            if place.opening.epoch < opening.epoch and place.cache.stage not in keys:
                await self.release(place)

    async def _book(self, place: Place, cache_bytes: int) -> Doomed:
        """Book a cache; those whose gateway is gone make room first, the longest gone before the others."""
        abandoned = sorted((p for p in self.all if p.is_abandoned), key=lambda p: p.orphaned_s or 0.0)
        while True:
            try:
                return self._means.ledger.book_cache(place.cache, cache_bytes, place.source)
            except Busy as error:
                if not abandoned:
                    raise error.until(self.retry_after_s) from None
            await self.release(abandoned.pop(0))

    def _place_of(self, frame: Frame) -> Place | None:
        """Return the place that a frame is for; None for a frame that is old or was refused."""
        place = self._at(frame.session_id, frame.epoch, frame.index)
        if place is not None:
            return place
        if any(other.opening.epoch > frame.epoch for other in self.of(frame.session_id)):
            return None
        if self._is_fenced(frame.session_id, frame.epoch):
            return None
        raise UnknownSession(f"a frame of session {frame.session_id}, which is not open here")

    def _at(self, session_id: SessionId, epoch: int, index: int) -> Place | None:
        """Return the place that a session has there in its route of that epoch; it has one at most."""
        return next((place for place in self.of(session_id) if place.is_at(session_id, epoch, index)), None)

    def _neighbours(self, place: Place) -> list[NodeId]:
        nodes = [place.opening.gateway_id]
        if place.next_hop:
            nodes.append(place.next_hop.node_id)
        if place.upstream_id:
            nodes.append(place.upstream_id)
        return nodes


def _reopened(place: Place) -> Rewound:
    """Where the cache ends; at the last stage before the row whose token is wanted and not known here."""
    known = place.opening.known
    rewound = place.relay.reopen(known, place.opening.newest)
    if place.next_hop is None and place.relay.length >= known > 0 and known not in place.drawn:
        return place.relay.take_back(known - 1)
    return rewound


def _step(frame: Frame, place: Place) -> Step:
    """What the engine is to do for a frame; only the last stage verifies guesses, and guesses."""
    if place.next_hop is not None:
        return Step(place.cache, frame.start, frame.payload, frame.sample)
    return Step(
        cache=place.cache,
        start=frame.start,
        payload=frame.payload,
        sample=frame.sample,
        drafts=frame.drafts[1:] if frame.is_ahead else frame.drafts,
        tokens=frame.tokens,
        num_wanted=min(frame.num_wanted, MOST_WANTED),  # whoever asks for more would keep others waiting
    )


def _rows(frame: Frame, num_rows: int, data: bytes) -> Rows:
    """What a frame has become here."""
    return Rows(
        start=frame.start,
        num_rows=num_rows,
        data=data,
        sample=frame.sample,
        drafts=frame.drafts,
        tokens=frame.tokens,
        num_wanted=frame.num_wanted,
        ahead=frame.ahead,
    )


def _prefix(place: Place) -> Prefix | None:
    """What a new cache begins with; the row whose token is wanted is always computed."""
    shared = min(place.opening.shared, place.opening.known - 1)
    return Prefix(place.source, shared) if place.source and shared > 0 else None
