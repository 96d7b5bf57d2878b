"""Locks between processes of one machine.

A lock is an empty file held with flock(2): the kernel frees it however its holder ends, so there are no
stale ones. The file itself is never removed: a process that waits on a removed file and one that makes a
new one would both hold "the" lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class HeldLock:
    """A lock of this process, freed by `release` or by the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in; call once."""
        os.close(self._descriptor)


def try_lock(path: Path) -> HeldLock | None:
    """Take the lock, or return None at once when another holds it."""
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for a block; when another holds it, call `on_wait` once and wait (Ctrl-C ends it)."""
    held = try_lock(path)
    if held is None:
        on_wait()
        held = _lock(path, fcntl.LOCK_EX)
    assert held is not None  # a blocking flock returns with the lock or raises
    try:
        yield
    finally:
        held.release()


def _lock(path: Path, operation: int) -> HeldLock | None:
    # Not inheritable (PEP 446): a child process must not keep its dead parent's lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return HeldLock(descriptor)
