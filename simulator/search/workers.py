"""Processes of this machine that run seeds.

Owns the processes. However the iteration ends, none of them stays: they are killed, and one whose parent died
without a word ends when its pipe does. Must not know what is made of the outcomes.

Workers are spawned, not forked: a fork copies locks and threads of whoever calls. Each worker gets a few
seeds at a time and answers them one by one, so that of one that dies we know at which seed.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from simulator.search.trial import Outcome, Raised, Trial

_MAX_CHUNK = 8
"""Seeds that a worker has at once: enough that it never waits for us, few enough to end together."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One process, and the seeds that it has not answered yet."""

    process: BaseProcess
    pipe: Connection
    seeds: deque[int] = field(default_factory=deque)

    def give(self, seeds: Sequence[int]) -> None:
        self.seeds.extend(seeds)
        with suppress(OSError):  # of one that has died; that shows where outcomes are read
            self.pipe.send(list(seeds))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_in_processes(trial: Trial, seeds: Sequence[int], num_jobs: int) -> Generator[Outcome]:
    """Yield the outcome of every seed, in the order in which they come.

    A worker that dies gives a `Raised` for the seed it was at; another one takes the rest.
    """
    waiting = deque(seeds)
    chunk = max(1, min(_MAX_CHUNK, len(seeds) // (num_jobs * 4)))
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < num_jobs:
                _give_more(_started(trial, workers), waiting, chunk)
            ready = wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                yield _next_outcome(worker, workers, waiting)
            _end_idle(workers, waiting, chunk)
    finally:
        for worker in workers:
            worker.end()


def _started(trial: Trial, workers: list[_Worker]) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(trial, theirs), daemon=True)
    with _interrupts_blocked():
        process.start()
    theirs.close()
    workers.append(_Worker(process, ours))
    return workers[-1]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which a terminal sends to all of us; their parent ends them.

    They inherit the mask. Setting it when they run would be too late: they import for a moment before.
    """
    resource_tracker.ensure_running()  # starting it lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _give_more(worker: _Worker, waiting: deque[int], chunk: int) -> None:
    worker.give([waiting.popleft() for _ in range(min(chunk, len(waiting)))])


def _next_outcome(worker: _Worker, workers: list[_Worker], waiting: deque[int]) -> Outcome:
    try:
        outcome: Outcome = worker.pipe.recv()
        worker.seeds.popleft()
        return outcome
    except (EOFError, OSError):
        return _buried(worker, workers, waiting)


def _buried(worker: _Worker, workers: list[_Worker], waiting: deque[int]) -> Raised:
    """Say what killed a worker, and give back the seeds that it had not begun."""
    workers.remove(worker)
    worker.process.join()
    worker.pipe.close()
    seed, *unbegun = worker.seeds
    waiting.extendleft(reversed(unbegun))
    return Raised(seed, f"the worker process died: {_cause(worker.process.exitcode or 0)}")


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name


def _end_idle(workers: list[_Worker], waiting: deque[int], chunk: int) -> None:
    """Give each worker that has answered all its seeds more of them, or let it go."""
    for worker in list(workers):
        if not worker.seeds and waiting:
            _give_more(worker, waiting, chunk)
        elif not worker.seeds:
            workers.remove(worker)
            worker.end()


def _work(trial: Trial, pipe: Connection) -> None:
    """Run in the worker: answer seeds until the parent is gone."""
    try:
        while True:
            for seed in pipe.recv():
                pipe.send(trial.outcome(seed))
    except (EOFError, OSError):
        return
