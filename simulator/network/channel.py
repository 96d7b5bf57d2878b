"""Channels between hosts: whole messages, in order, in the time that their path takes, or broken.

Owns what is under way on each channel. Like a connection of TCP a channel notices nothing of a path that is
blocked: what is sent waits, and is tried again at growing intervals (RFC 6298). It breaks when its peer's
system says so (a process that ended, a device that started again), when a fault resets it, or after too many
tries.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVarTuple

from mesh.errors import ChannelClosed
from mesh.inbox import Inbox
from mesh.ports import check_message_size
from simulator.network.hosts import Host, Path
from simulator.network.rules import Altered, Later, Lossier, Lost, Packet, Rule, Slower
from simulator.network.sharing import PACKET_BYTES, Use, pass_packet

Ts = TypeVarTuple("Ts")

_IN_FLIGHT = 16  # messages under way or unread on one channel and direction; then its sender waits
_FIRST_RETRY_S = 0.2  # Linux's least retransmission timeout
_MOST_RETRIES = 15  # Linux's tcp_retries2
_FAST_RETRY_AFTER = 3  # packets that arrive though others were lost

BROKE = "the path to the peer broke"
_CLOSED = "the peer closed the channel"


def retry_s(began_s: float, now_s: float) -> float:
    """When a system that began to try at a time, and waits twice as long each time, tries next."""
    wait_s, at_s = _FIRST_RETRY_S, began_s + _FIRST_RETRY_S
    while at_s < now_s:
        wait_s *= 2
        at_s += wait_s
    return at_s


Observer = Callable[[float, float, tuple[int, int], bytes], None]
"""Told of each message when it arrives: that time, when it was sent, the places of both hosts, the bytes."""


class SetTimer(Protocol):
    """Has something happen at a time, whatever becomes of the task that asks for it."""

    def __call__(self, when: float, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.TimerHandle:
        """Set it."""


class Carrier(Protocol):
    """What a channel needs of the network that it is on."""

    now: Callable[[], float]
    """Seconds of the loop's clock."""
    at: SetTimer
    rules: dict[Rule, None]
    """In force now."""
    path_version: int
    """Rises when a path changes."""
    observer: Observer | None
    holding: dict[Pipe, None]
    """Pipes whose messages cannot arrive."""
    ends: dict[Host, dict[VirtualChannel, None]]
    """Open channels, by the host whose end it is."""

    def path(self, source: Host, target: Host) -> Path:
        """The way from one host to another, as it is now."""

    def dice(self, source: Host, target: Host) -> random.Random:
        """What decides by chance of messages from one host to another."""

    def is_blocked(self, source: Host, target: Host) -> bool:
        """Whether nothing gets from one host to another now."""

    def start_flow(self, uses: tuple[Use, ...], num_bytes: int, done: Callable[[], None]) -> None:
        """Put a large message on its way."""

    def refuse(self, pipe: Pipe) -> None:
        """The agent that a message was for is gone: its system says so to the sender's."""

    def reset(self, pipe: Pipe) -> None:
        """Break the channel of a pipe at both ends."""


class Pipe:
    """One direction of a channel."""

    __slots__ = (
        "_counts",
        "_dice",
        "_is_sending",
        "_last_s",
        "_network",
        "_path",
        "_path_version",
        "_queue",
        "_target_boot",
        "ends",
        "held",
        "held_since_s",
        "num_outstanding",
        "sink",
        "source",
        "target",
    )

    def __init__(self, network: Carrier, source: Host, target: Host) -> None:
        self.source = source
        self.target = target
        self.sink: VirtualChannel
        """The end that receives."""
        self.num_outstanding = 0
        """Messages sent and not yet read."""
        self.held: deque[tuple[bytes | None, float]] = deque()
        """What could not arrive, with the time when it was sent."""
        self.held_since_s = 0.0
        """When the first of it was sent."""
        self.ends = (source.index, target.index)
        """Places of sender and receiver among the hosts."""
        self._network = network
        self._path = network.path(source, target)
        self._path_version = network.path_version
        self._dice = network.dice(source, target)
        self._counts = source.sent.setdefault(target, [0, 0])
        self._target_boot = target.boot
        self._queue: deque[bytes | None] = deque()
        self._is_sending = False
        self._last_s = 0.0

    def push(self, data: bytes | None) -> None:
        """Send a message, or None for the end of all messages."""
        if self._is_sending:
            self._queue.append(data)
        else:
            self._transmit(data)

    def _transmit(self, data: bytes | None) -> None:
        network = self._network
        now_s = network.now()
        if self._path_version != network.path_version:
            self._path = network.path(self.source, self.target)
            self._path_version = network.path_version
        path = self._path
        uses, extra_s, loss = path.uses, path.delay_s, path.loss
        if network.rules and data is not None:
            match self._ruled(data, uses):
                case None:
                    return
                case (data, uses, more_s, more_loss):
                    extra_s += more_s
                    loss += more_loss - loss * more_loss
        size = len(data) if data is not None else 0
        if loss and (size > PACKET_BYTES or self._dice.random() < loss):
            lost_s = _lost_s(self._dice, loss, size, 2 * path.delay_s)
            if lost_s is None:
                network.reset(self)
                return
            extra_s += lost_s
        extra_s += self._chance_s(path) + self.source.message_overhead_s + self.target.message_overhead_s
        if size <= PACKET_BYTES:
            self._fly(data, pass_packet(uses, size, now_s) + extra_s, now_s)
        else:
            self._is_sending = True
            network.start_flow(uses, size, partial(self._passed, data, extra_s, now_s))

    def _chance_s(self, path: Path) -> float:
        """How much later than others a message comes by chance."""
        return self._dice.expovariate(1.0 / path.jitter_s) if path.jitter_s else 0.0

    def _ruled(
        self, data: bytes, uses: tuple[Use, ...]
    ) -> tuple[bytes, tuple[Use, ...], float, float] | None:
        """Ask the rules: None where the message is lost and its channel with it."""
        delay_s = loss = 0.0
        for rule in tuple(self._network.rules):
            match rule(Packet(self.source, self.target, data)):
                case Later(seconds):
                    delay_s += seconds
                case Slower(factor):
                    uses = tuple(Use(use.medium, use.s_per_byte * factor) for use in uses)
                case Lossier(probability):
                    loss += probability - loss * probability
                case Altered(altered):
                    data = altered
                case Lost():
                    self._network.reset(self)
                    return None
        return data, uses, delay_s, loss

    def _passed(self, data: bytes | None, extra_s: float, sent_s: float) -> None:
        """A large message has left its media."""
        self._is_sending = False
        self._fly(data, self._network.now() + extra_s, sent_s)
        while self._queue and not self._is_sending:
            self._transmit(self._queue.popleft())

    def _fly(self, data: bytes | None, arrives_s: float, sent_s: float) -> None:
        if arrives_s < self._last_s:
            arrives_s = self._last_s
        self._last_s = arrives_s
        self._network.at(arrives_s, self.arrive, data, sent_s)

    def arrive(self, data: bytes | None, sent_s: float) -> None:
        """A message is at its target, if the way is free and the agent still the same."""
        network = self._network
        if self.held or network.is_blocked(self.source, self.target):
            self._hold(data, sent_s)
        elif self._target_boot != self.target.boot:
            network.refuse(self)
        elif not self.sink.is_over:
            if data is None:
                self.sink.peer_closed()
                return
            counts = self._counts
            counts[0] += 1
            counts[1] += len(data)
            if network.observer is not None:
                network.observer(network.now(), sent_s, self.ends, data)
            self.sink.incoming.put_nowait(data)

    def _hold(self, data: bytes | None, sent_s: float) -> None:
        if not self.held:
            self.held_since_s = sent_s
            self._network.holding[self] = None
        self.held.append((data, sent_s))

    def release(self) -> None:
        """Let what was held arrive now, in order."""
        self._network.holding.pop(self, None)
        held, self.held = self.held, deque()
        for data, sent_s in held:
            self.arrive(data, sent_s)


class VirtualChannel:
    """One end of a channel."""

    __slots__ = (
        "_network",
        "_outgoing",
        "_reason",
        "_source",
        "_waiting",
        "host",
        "incoming",
        "is_over",
        "peer",
    )

    def __init__(self, network: Carrier, host: Host, outgoing: Pipe, source: Pipe) -> None:
        self.host = host
        self.peer: VirtualChannel
        self.incoming: Inbox[bytes] = Inbox(_IN_FLIGHT)
        self.is_over = False
        """Whether it was closed, by either end, or broke."""
        self._reason = ""
        self._network = network
        self._outgoing = outgoing
        self._source = source
        self._waiting: deque[asyncio.Future[None]] = deque()
        source.sink = self
        network.ends.setdefault(host, {})[self] = None

    async def send(self, message: bytes) -> None:
        """Hand over one message; see the port."""
        check_message_size(message)
        while self._outgoing.num_outstanding >= _IN_FLIGHT and not self.is_over:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        if self.is_over:
            raise ChannelClosed(self._reason)
        self._outgoing.num_outstanding += 1
        self._outgoing.push(message)

    async def receive(self) -> bytes:
        """Return the next message; see the port."""
        message = await self.incoming.get()
        self._source.num_outstanding -= 1
        self.peer.wake_sender()
        return message

    def wake_sender(self) -> None:
        """There is room for another message, or there never will be."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if self._waiting:
            self._waiting.popleft().set_result(None)

    async def close(self) -> None:
        """Stop both directions; see the port."""
        if not self.is_over:
            self._end("the channel was closed")
            self._outgoing.push(None)
        self.incoming.clear()

    def peer_closed(self) -> None:
        """The peer has closed, and all that it sent before has arrived."""
        self._end(_CLOSED)

    def cut(self, reason: str = BROKE) -> None:
        """Break this end; what was unread is lost."""
        if not self.is_over:
            self._end(reason)
            self.incoming.clear()

    def _end(self, reason: str) -> None:
        self.is_over = True
        self._reason = reason
        self.incoming.close(reason)
        self._network.ends[self.host].pop(self, None)
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


def _lost_s(rng: random.Random, loss: float, num_bytes: int, round_trip_s: float) -> float | None:
    """How long a message waits for those of its packets that are lost; None where the system gives up.

    A message of one packet has lost it already, or nobody would ask. All that is missing is sent in one go.
    Where three packets of it arrive, the receiver's acknowledgements tell what was lost, and it is sent again
    a round trip later (fast retransmit, RFC 5681); else only a timeout tells, which doubles each time. What a
    sender makes of its rate is not modelled.
    """
    waited_s, wait_s, num_timeouts = 0.0, _FIRST_RETRY_S, 0
    num_missing = -(-num_bytes // PACKET_BYTES)
    num_lost = 1 if num_missing <= 1 else _num_lost(rng, loss, num_missing)
    while num_lost:
        if num_missing - num_lost >= _FAST_RETRY_AFTER:
            waited_s += round_trip_s
        else:
            waited_s, wait_s, num_timeouts = waited_s + wait_s, wait_s * 2, num_timeouts + 1
        if num_timeouts > _MOST_RETRIES:
            return None
        num_missing, num_lost = num_lost, _num_lost(rng, loss, num_lost)
    return waited_s


def _num_lost(rng: random.Random, loss: float, num_packets: int) -> int:
    return sum(rng.random() < loss for _ in range(num_packets))
