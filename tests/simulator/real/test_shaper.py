"""The shaper on real sockets. Bounds are those that a busy machine keeps."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mesh.types import Address
from simulator.real.clock import now_s
from simulator.real.paths import Medium, Path, Use
from simulator.real.shaper import Shaper

THERE, BACK = ("a", "b"), ("b", "a")


def paths(
    delay_s: float = 0.0, jitter_s: float = 0.0, rate_bps: float | None = None
) -> dict[tuple[str, str], Path]:
    return {
        pair: Path(
            *pair,
            () if rate_bps is None else (Use(Medium(), 8 / rate_bps),),
            delay_s,
            jitter_s,
            random.Random(1),
        )
        for pair in (THERE, BACK)
    }


@contextmanager
def echo() -> Iterator[Address]:
    """A program that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Address("127.0.0.1", listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        with end:
            try:
                while piece := end.recv(65536):
                    end.sendall(piece)
            except OSError:
                pass


@contextmanager
def dialled(shaper: Shaper, address: Address) -> Iterator[socket.socket]:
    """A connection from a to b that has carried something."""
    way = shaper.open("a", "b", address)
    assert way is not None
    with socket.create_connection((way.host, way.port), 10) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.settimeout(10)
        round_trip_s(end, b"!")
        yield end


def round_trip_s(end: socket.socket, data: bytes) -> float:
    began_s = now_s()
    sending = threading.Thread(target=end.sendall, args=(data,), daemon=True)
    sending.start()
    came = bytearray()
    while len(came) < len(data):
        piece = end.recv(65536)
        assert piece
        came += piece
    sending.join()
    assert came == data
    return now_s() - began_s


def shortest_s(measure: Callable[[], float], num: int = 5) -> float:
    """Of several: what a busy machine does to some of them does not count."""
    return min(measure() for _ in range(num))


def test_delay_is_added_in_each_direction() -> None:
    with echo() as address:
        with Shaper(paths()) as shaper, dialled(shaper, address) as end:
            free_s = shortest_s(lambda: round_trip_s(end, b"x"))
        with Shaper(paths(delay_s=0.01)) as shaper, dialled(shaper, address) as end:
            delayed_s = shortest_s(lambda: round_trip_s(end, b"x"))
    assert delayed_s >= 0.02
    assert delayed_s - free_s < 0.03


def test_rate_limits_what_passes() -> None:
    data = random.Random(2).randbytes(60_000)
    with echo() as address, Shaper(paths(rate_bps=16e6)) as shaper, dialled(shaper, address) as end:
        # 30 ms each way; the way back begins while the way there still goes on.
        assert 0.03 <= shortest_s(lambda: round_trip_s(end, data), 2) < 0.2


def test_jitter_changes_no_order() -> None:
    data = random.Random(3).randbytes(400_000)
    with echo() as address, Shaper(paths(jitter_s=0.002)) as shaper, dialled(shaper, address) as end:
        round_trip_s(end, data)  # which compares


def test_a_new_connection_carries_nothing_for_its_first_round_trip() -> None:
    with echo() as address, Shaper(paths(delay_s=0.01)) as shaper:
        way = shaper.open("a", "b", address)
        assert way is not None
        with socket.create_connection((way.host, way.port), 10) as end:
            assert round_trip_s(end, b"x") >= 0.04


def test_what_a_blocked_path_is_given_waits_and_comes_in_order() -> None:
    with echo() as address, Shaper(paths()) as shaper, dialled(shaper, address) as end:
        shaper.change([THERE], lambda path: setattr(path, "is_blocked", True))
        end.sendall(b"first ")
        end.settimeout(0.05)
        with pytest.raises(TimeoutError):
            end.recv(100)
        end.sendall(b"second")
        with pytest.raises(TimeoutError):
            end.recv(100)
        end.settimeout(10)
        shaper.change([THERE], lambda path: setattr(path, "is_blocked", False))
        came = b""
        while len(came) < 12:
            came += end.recv(100)
        assert came == b"first second"


def test_a_reset_breaks_what_is_open_and_new_connections_work() -> None:
    with echo() as address, Shaper(paths()) as shaper:
        with dialled(shaper, address) as end:
            shaper.reset([THERE])
            with pytest.raises(ConnectionResetError):
                end.recv(100)
        with dialled(shaper, address) as end:
            assert round_trip_s(end, b"again") > 0


def test_where_nobody_listens_the_dialler_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = Address("127.0.0.1", listener.getsockname()[1])
    with Shaper(paths()) as shaper:
        way = shaper.open("a", "b", nobody)
        assert way is not None
        with pytest.raises(ConnectionResetError), socket.create_connection((way.host, way.port), 10) as end:
            end.recv(1)


def test_the_end_of_a_stream_is_passed_on_behind_its_bytes() -> None:
    with echo() as address, Shaper(paths(delay_s=0.005)) as shaper, dialled(shaper, address) as end:
        end.sendall(b"last words")
        end.shutdown(socket.SHUT_WR)
        came = b""
        while piece := end.recv(100):
            came += piece
        assert came == b"last words"


def test_where_no_path_leads_there_is_no_proxy() -> None:
    with Shaper(paths()) as shaper:
        assert shaper.open("a", "c", Address("127.0.0.1", 1)) is None


def test_the_shaper_counts_what_passes_and_leaves_no_thread() -> None:
    with echo() as address, Shaper(paths()) as shaper, dialled(shaper, address) as end:
        before = shaper.paths[THERE].num_bytes
        round_trip_s(end, bytes(1000))
        assert shaper.paths[THERE].num_bytes - before == 1000
    deadline_s = now_s() + 5
    while any(thread.name == "shaper" for thread in threading.enumerate()) and now_s() < deadline_s:
        time.sleep(0.01)  # noqa: TID251
    assert not any(thread.name == "shaper" for thread in threading.enumerate())
