"""A lock has one holder, also within one process, and ends with its block."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mesh.store.lock import locked, try_lock


def never() -> None:
    raise AssertionError("waited")


def test_a_held_lock_is_refused_until_it_is_released(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "a.lock")
    assert first is not None
    assert try_lock(tmp_path / "a.lock") is None
    first.release()
    second = try_lock(tmp_path / "a.lock")
    assert second is not None
    second.release()


def test_a_block_that_fails_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "a.lock", never):
        raise KeyError
    with locked(tmp_path / "a.lock", never):
        pass


def test_who_has_to_wait_is_told_once_and_then_let_in(tmp_path: Path) -> None:
    waits = threading.Event()
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "a.lock", waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "a.lock", never):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
