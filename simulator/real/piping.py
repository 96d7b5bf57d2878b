"""Connections through a proxy: bytes taken from one socket, held until their path lets them through.

Owns the state of each connection. Everything runs on the shaper's thread, under its lock; times come in.
As on a real network a connection carries nothing for its first round trip, and what a blocked path is
given waits.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import struct
from collections.abc import Iterator

from mesh.types import Address
from simulator.real.paths import Action, Path

_PIECE_BYTES = 64 * 1024
_MAX_UNDER_WAY_BYTES = 8 * 2**20  # of one direction; beyond it the sender's own buffers fill up
_CONNECT_S = 2.0  # to the agent on this machine
_BREAK = struct.pack("ii", 1, 0)  # SO_LINGER for 0 s: closing resets instead of saying goodbye


class Timers:
    """What is to happen when; equal times in the order of the asking."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    @property
    def next_s(self) -> float | None:
        """When something is due; None where nothing is."""
        return self._heap[0][0] if self._heap else None

    def at(self, due_s: float, action: Action) -> None:
        """Have something done; it is given the time for which it was planned."""
        heapq.heappush(self._heap, (due_s, next(self._order), action))

    def run(self, now_s: float) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= now_s:
            due_s, _, action = heapq.heappop(self._heap)
            action(due_s)


class Proxy:
    """A port where one device finds another."""

    def __init__(self, address: Address, there: Path, back: Path, timers: Timers) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        self._behind = address
        self._there, self._back, self._timers = there, back, timers
        self._connections: list[Connection] = []

    def accept(self, now_s: float) -> None:
        """Take a dialler."""
        with contextlib.suppress(OSError):  # gone already
            dialler, _ = self.listener.accept()
            connection = Connection(dialler, self._there, self._back, self._timers)
            connection.begin(self._behind, now_s)
            self._connections.append(connection)

    def open_connections(self) -> Iterator[Connection]:
        """Those that still carry something."""
        self._connections = [one for one in self._connections if not one.is_over]
        return iter(self._connections)

    def reset(self) -> None:
        """Break them all."""
        for connection in self._connections:
            connection.cut()

    def close(self) -> None:
        """Break them all and take no more."""
        self.reset()
        self.listener.close()


class Connection:
    """A dialler, the agent behind the proxy, and a stream each way."""

    def __init__(self, dialler: socket.socket, there: Path, back: Path, timers: Timers) -> None:
        self._there, self._back, self._timers = there, back, timers
        self._ask = Stream(self, there, timers)
        self._reply = Stream(self, back, timers)
        self._sockets = [_ready(dialler)]
        self.is_over = False
        self._reply.sink = dialler

    def begin(self, behind: Address, now_s: float) -> None:
        """Let the handshake of TCP pass: three crossings until the agent has a connection."""
        trip_s = self._there.delay_s + self._back.delay_s

        def start_reading(due_s: float) -> None:
            self._ask.source = None if self.is_over else self._sockets[0]

        def reach(due_s: float) -> None:
            if self._there.is_blocked or self._back.is_blocked:
                (self._there if self._there.is_blocked else self._back).parked.append(reach)
            elif not self.is_over:
                self._reach(behind, due_s)

        self._timers.at(now_s + trip_s, start_reading)
        self._timers.at(now_s + trip_s + self._there.delay_s, reach)

    def _reach(self, behind: Address, now_s: float) -> None:
        try:
            agent = _ready(socket.create_connection((behind.host, behind.port), _CONNECT_S))
        except OSError:
            return self.cut()
        self._sockets.append(agent)
        self._reply.source = agent
        self._ask.sink = agent
        return self._ask.write(now_s)

    def wants(self, readers: dict[socket.socket, Action], writers: dict[socket.socket, Action]) -> None:
        """Say which sockets are to be looked at, and who takes what is seen."""
        for stream in (self._ask, self._reply):
            if stream.source is not None and not stream.is_full:
                readers[stream.source] = stream.read
            if stream.sink is not None and stream.waits_to_write:
                writers[stream.sink] = stream.write

    def ended(self) -> None:
        """One direction is through; close when both are."""
        if self._ask.is_through and self._reply.is_through:
            self.cut()

    def cut(self) -> None:
        """Break it at both ends now; does nothing to a connection that is over."""
        if self.is_over:
            return
        self.is_over = True
        is_broken = not (self._ask.is_through and self._reply.is_through)
        for end in self._sockets:
            with contextlib.suppress(OSError):
                if is_broken:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
            end.close()
        self._ask.source = self._reply.source = self._ask.sink = self._reply.sink = None


class Stream:
    """One direction of a connection."""

    def __init__(self, owner: Connection, path: Path, timers: Timers) -> None:
        self._owner, self._path, self._timers = owner, path, timers
        self.source: socket.socket | None = None
        self.sink: socket.socket | None = None
        self.is_through = False
        """Whether the end of the stream has been passed on."""
        self._arrived = bytearray()
        self._has_ended = False
        self._under_way_bytes = 0
        self._last_s = 0.0

    @property
    def is_full(self) -> bool:
        """Whether so much is under way that no more is taken."""
        return self._under_way_bytes >= _MAX_UNDER_WAY_BYTES

    @property
    def waits_to_write(self) -> bool:
        """Whether something has arrived that the sink has not taken."""
        return bool(self._arrived)

    def read(self, now_s: float) -> None:
        """Take what is there and send it on its way; an end too."""
        if self.source is None:
            return
        try:
            piece = self.source.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the sender's system broke it
            piece = b""
        if not piece:
            self.source = None
        self._under_way_bytes += len(piece)
        self._path.num_pieces += bool(piece)
        self._path.num_bytes += len(piece)
        self._send(piece, now_s)

    def _send(self, piece: bytes, now_s: float) -> None:
        if self._owner.is_over:
            return
        if self._path.is_blocked:
            self._path.parked.append(lambda later_s: self._send(piece, later_s))
            return
        # Jitter changes no order: a piece waits for those before it.
        self._last_s = max(self._last_s, self._path.arrival_s(len(piece), now_s))
        self._timers.at(self._last_s, lambda due_s: self._arrive(piece, due_s))

    def _arrive(self, piece: bytes, now_s: float) -> None:
        if self._owner.is_over:
            return
        if self._path.is_blocked:
            self._path.parked.append(lambda later_s: self._arrive(piece, later_s))
            return
        self._under_way_bytes -= len(piece)
        self._arrived += piece
        self._has_ended = self._has_ended or not piece
        self.write(now_s)

    def write(self, _now_s: float) -> None:
        """Give the sink what it takes."""
        if self.sink is None:
            return
        try:
            while self._arrived:
                del self._arrived[: self.sink.send(self._arrived)]
        except BlockingIOError:
            return
        except OSError:  # nobody is there any more
            return self._owner.cut()
        if self._has_ended and not self.is_through:
            self.is_through = True
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)
            self._owner.ended()


def _ready(end: socket.socket) -> socket.socket:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end
