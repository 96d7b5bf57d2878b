"""A network in user space: TCP proxies that give connections the delay, rate and jitter of a path.

Owns the sockets and a thread. One `select` loop serves all of them, because its timer counts microseconds
where epoll's counts milliseconds. Each ordered pair of devices has proxies of its own, so a connection's
bytes go by the path from its dialler to its listener, and back by the path the other way. Nothing of what
passes is read, changed or put in another order.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType

from mesh.errors import BadSetting
from mesh.types import Address
from simulator.real.clock import AWAKE_S, now_s, sharpen_timers
from simulator.real.paths import Action, Path
from simulator.real.piping import Proxy, Timers

_MAX_SOCKETS = 1000  # select() takes descriptors below 1,024
_LONGEST_SLEEP_S = 1.0

Pair = tuple[str, str]


class Shaper:
    """Proxies for the paths of one run; a context manager that owns its thread."""

    def __init__(self, paths: Mapping[Pair, Path]) -> None:
        self.paths = paths
        self._lock = threading.Lock()
        self._timers = Timers()
        self._proxies: dict[tuple[Pair, Address], Proxy] = {}
        self._waker, self._wake_up = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="shaper", daemon=True)
        self._is_over = False

    def __enter__(self) -> Shaper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break everything and end the thread."""
        with self._changing():
            self._is_over = True
        self._thread.join()

    def open(self, source: str, target: str, address: Address) -> Address | None:
        """Return where `source` reaches what `target` listens on at `address`; None where no path leads."""
        pair = (source, target)
        if pair not in self.paths or (target, source) not in self.paths:
            return None
        with self._changing():
            known = self._proxies.get((pair, address))
            if known is None:
                there, back = self.paths[pair], self.paths[target, source]
                known = self._proxies[pair, address] = Proxy(address, there, back, self._timers)
            return known.address

    def change(self, pairs: Collection[Pair], change: Callable[[Path], None]) -> None:
        """Change paths; what waited for a path that is free again goes on, in order."""
        with self._changing():
            for path in self._chosen(pairs):
                change(path)
                if not path.is_blocked:
                    waiting, path.parked = path.parked, []
                    for action in waiting:
                        action(now_s())

    def reset(self, pairs: Collection[Pair]) -> None:
        """Break every connection between these devices."""
        with self._changing():
            for (pair, _), proxy in self._proxies.items():
                if pair in pairs:
                    proxy.reset()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the loop still, then have it look again."""
        with self._lock:
            yield
            with contextlib.suppress(OSError):
                self._wake_up.send(b"!")

    def _chosen(self, pairs: Collection[Pair]) -> list[Path]:
        return [path for pair, path in self.paths.items() if pair in pairs]

    def _run(self) -> None:
        sharpen_timers()
        try:
            while not self._is_over:
                self._turn()
        finally:
            for proxy in self._proxies.values():
                proxy.close()
            self._waker.close()
            self._wake_up.close()

    def _turn(self) -> None:
        with self._lock:
            readers, writers = self._waiting()
            due_s = self._timers.next_s
        try:
            readable, writable = _look([self._waker, *readers], list(writers), due_s)
        except (OSError, ValueError):
            return  # another thread has just closed one of them: look again
        with self._lock:
            came_s = now_s()
            self._timers.run(came_s)
            for source in readable:
                if source is self._waker:
                    self._waker.recv(4096)
                else:
                    readers[source](came_s)
            for sink in writable:
                writers[sink](came_s)
            self._timers.run(now_s())

    def _waiting(self) -> tuple[dict[socket.socket, Action], dict[socket.socket, Action]]:
        readers: dict[socket.socket, Action] = {}
        writers: dict[socket.socket, Action] = {}
        for proxy in self._proxies.values():
            readers[proxy.listener] = proxy.accept
            for connection in proxy.open_connections():
                connection.wants(readers, writers)
        if len(readers) > _MAX_SOCKETS:
            raise BadSetting(f"more than {_MAX_SOCKETS} connections at once; run fewer devices as processes")
        return readers, writers


def _look(
    readers: list[socket.socket], writers: list[socket.socket], due_s: float | None
) -> tuple[list[socket.socket], list[socket.socket]]:
    """Wait until something can be read or written or a time is there; its last moment is waited out awake."""
    while True:
        left_s = _LONGEST_SLEEP_S if due_s is None else min(due_s - now_s(), _LONGEST_SLEEP_S)
        readable, writable, _ = select.select(readers, writers, [], max(left_s - AWAKE_S, 0.0))
        if readable or writable or due_s is None or now_s() >= due_s:
            return readable, writable
