"""Sweeps: every seed once, on processes or Ray, whatever happens to a run or a worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from multiprocessing import active_children
from types import ModuleType

import pytest

from mesh.errors import BadSetting
from simulator.result import Verdict
from simulator.search.ray_workers import run_on_ray
from simulator.search.sweep import Sweep, sweep
from simulator.search.trial import Outcome, Raised, Ran, Run, Trial
from simulator.search.workers import run_in_processes
from tests.simulator.search import fakes


def here(trial: Trial, seeds: Sequence[int]) -> Generator[Outcome]:
    """In this process, from the last seed to the first."""
    for seed in reversed(seeds):
        yield trial.outcome(seed)


def swept(run: Run, seeds: Sequence[int] = range(20)) -> Sweep:
    return sweep(Trial(fakes.script_of, run), seeds, here)


def in_processes(run: Run, seeds: Sequence[int], num_jobs: int = 2) -> Sweep:
    result = sweep(Trial(fakes.script_of, run), seeds, partial(run_in_processes, num_jobs=num_jobs))
    assert active_children() == []
    return result


def test_a_sweep_is_in_the_order_of_its_seeds() -> None:
    result = swept(fakes.run_with_rare_bug)
    assert [outcome.seed for outcome in result.outcomes] == list(range(20))
    assert [outcome.seed for outcome in result.failures] == [7, 17]
    assert result.first_failed_run
    assert result.first_failed_run.seed == 7
    assert (result.num_of(Verdict.HELD), result.num_of(Verdict.BROKEN), result.num_raised) == (18, 2, 0)


def test_a_sweep_adds_up_its_runs() -> None:
    result = swept(fakes.run, range(4))
    assert (result.virtual_s, result.num_events) == (80.0, 4 * 15)
    spread = result.spreads()["num_requests"]
    assert (spread.least, spread.median, spread.most) == (0, 0, 0)
    assert "ttft_p50_s" not in result.spreads()  # nothing was measured
    assert result.wall_s > 0


def test_a_run_that_raises_is_reported_with_its_seed_and_traceback() -> None:
    (failure,) = swept(fakes.run_raising).failures
    assert isinstance(failure, Raised)
    assert (failure.seed, failure.text) == (3, "ValueError: no such value")
    assert "in run_raising" in (failure.traceback or "")
    assert swept(fakes.run_raising).first_failed_run is None


def test_progress_is_told_of_every_outcome_as_it_comes() -> None:
    seen: list[Outcome] = []
    sweep(Trial(fakes.script_of, fakes.run), range(5), here, seen.append)
    assert [outcome.seed for outcome in seen] == [4, 3, 2, 1, 0]


@pytest.mark.slow
def test_processes_run_every_seed_once_and_find_what_one_process_finds() -> None:
    result = in_processes(fakes.run_with_rare_bug, range(40))
    alone = swept(fakes.run_with_rare_bug, range(40))
    assert result.outcomes == alone.outcomes
    assert result.digest == alone.digest != swept(fakes.run, range(41)).digest


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_with_its_seed_and_the_others_go_on() -> None:
    result = in_processes(fakes.run_dying, range(16), num_jobs=1)  # four seeds at once: 4 to 7
    assert [outcome.seed for outcome in result.outcomes] == list(range(16))
    (failure,) = result.failures
    assert isinstance(failure, Raised)
    assert failure.seed == 5
    assert "died: SIGKILL" in failure.text


@pytest.mark.slow
def test_an_interrupted_sweep_ends_at_once_and_leaves_no_process() -> None:
    trial = Trial(fakes.script_of, fakes.run_endless)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        sweep(trial, range(4), partial(run_in_processes, num_jobs=2))
    assert active_children() == []


def test_what_progress_raises_ends_the_place() -> None:
    closed: list[bool] = []

    def place(trial: Trial, seeds: Sequence[int]) -> Generator[Outcome]:
        try:
            yield trial.outcome(seeds[0])
        finally:
            closed.append(True)

    def fail(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        sweep(Trial(fakes.script_of, fakes.run), range(2), place, fail)
    assert closed == [True]
    assert raised.tb  # which still holds the place


class FakeRay(ModuleType):
    """As much of Ray as a sweep uses; tasks run when they are asked for. Seed 2 is lost."""

    class exceptions:
        class RayError(Exception):
            pass

        class WorkerCrashedError(RayError):
            pass

    def __init__(self) -> None:
        super().__init__("ray")
        self.address = ""
        self.has_shut_down = False

    def init(self, address: str, **options: object) -> None:
        if address == "nowhere":
            raise ConnectionError("Could not find\nany running Ray instance")
        self.address = address

    def shutdown(self) -> None:
        self.has_shut_down = True

    def remote(self, max_retries: int) -> Callable[[Callable[[Trial, int], Outcome]], ModuleType]:
        assert max_retries == 0
        return FakeTask

    def put(self, trial: Trial) -> Trial:
        return trial

    def wait(self, references: list[object], num_returns: int) -> tuple[list[object], list[object]]:
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Callable[[], Outcome]) -> Outcome:
        outcome = reference()
        if outcome.seed == 2:
            raise self.exceptions.WorkerCrashedError("The worker died\nunexpectedly")
        return outcome


class FakeTask(ModuleType):
    def __init__(self, function: Callable[[Trial, int], Outcome]) -> None:
        super().__init__("task")
        self._function = function

    def remote(self, trial: Trial, seed: int) -> Callable[[], Outcome]:
        return partial(self._function, trial, seed)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def on_ray(address: str) -> Sweep:
    return sweep(Trial(fakes.script_of, fakes.run), range(6), partial(run_on_ray, address=address))


def test_ray_runs_every_seed_and_what_it_loses_is_reported(ray: FakeRay) -> None:
    result = on_ray("local")
    assert [outcome.seed for outcome in result.outcomes] == list(range(6))
    (failure,) = result.failures
    assert isinstance(failure, Raised)
    assert failure.text == "Ray lost the run: WorkerCrashedError: The worker died unexpectedly"
    assert [outcome.digest for outcome in result.ran] == [
        fakes.run(fakes.script_of(seed)).digest for seed in (0, 1, 3, 4, 5)
    ]
    assert (ray.address, ray.has_shut_down) == ("local", True)


def test_an_address_without_ray_is_one_line(ray: FakeRay) -> None:
    with pytest.raises(BadSetting, match="cannot use Ray at 'nowhere': Could not find any running Ray"):
        on_ray("nowhere")


def test_a_port_where_nobody_listens_is_one_line_at_once(ray: FakeRay) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadSetting, match=f"cannot use Ray at '{address}': .*refused"):
            on_ray(address)
    assert ray.address == ""


def test_ray_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadSetting, match=r"pip install 'ambient-mesh\[ray\]'"):
        on_ray("local")


def test_outcomes_are_small(ray: FakeRay) -> None:
    outcome = Trial(fakes.script_of, fakes.run).outcome(1)
    assert isinstance(outcome, Ran)
    assert not hasattr(outcome, "events")
