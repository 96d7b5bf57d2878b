"""Seeds on the machines of a Ray cluster, for sweeps that outgrow one machine.

Owns the conversation with Ray, an optional package that is imported when it is asked for and not before. One
seed is one Ray task, so that of a task that dies we know the seed; a run takes a hundred times as long as Ray
needs for a task. Every machine of the cluster needs the same version of ambient-mesh.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from importlib import import_module
from types import ModuleType

from mesh.errors import BadSetting
from simulator.search.trial import Outcome, Raised, Trial

LOCAL = "local"
"""The address that starts a cluster of this machine, which ends with the sweep."""

_MAX_IN_FLIGHT = 1024
"""Tasks given to Ray at once; it schedules thousands, but each costs memory of the driver."""

_ANSWER_S = 5.0
"""For the first sign of a cluster."""


def run_on_ray(trial: Trial, seeds: Sequence[int], address: str) -> Generator[Outcome]:
    """Yield the outcome of every seed, in the order in which they come.

    Raises BadSetting where Ray is not installed, or nobody answers at the address.
    """
    ray = _imported()
    _connect(ray, address)
    try:
        yield from _outcomes(ray, trial, deque(seeds))
    finally:
        ray.shutdown()


def _imported() -> ModuleType:
    try:
        return import_module("ray")
    except ImportError as error:
        raise BadSetting("Ray is not installed; run: pip install 'ambient-mesh[ray]'") from error


def _check_answers(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for some minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal() and int(port) < 1 << 16:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()


def _connect(ray: ModuleType, address: str) -> None:
    try:
        _check_answers(address)
        ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level="error")
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadSetting(
            f"cannot use Ray at '{address}': {reason[:200]}; give the address of a running cluster, or local"
        ) from error


def _outcomes(ray: ModuleType, trial: Trial, waiting: deque[int]) -> Iterator[Outcome]:
    task = ray.remote(max_retries=0)(_outcome)
    shared = ray.put(trial)
    seeds: dict[object, int] = {}
    while waiting or seeds:
        while waiting and len(seeds) < _MAX_IN_FLIGHT:
            seed = waiting.popleft()
            seeds[task.remote(shared, seed)] = seed
        done, _ = ray.wait(list(seeds), num_returns=1)
        for reference in done:
            yield _got(ray, reference, seeds.pop(reference))


def _got(ray: ModuleType, reference: object, seed: int) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        return Raised(seed, f"Ray lost the run: {type(error).__name__}: {reason[:300]}")
    return outcome


def _outcome(trial: Trial, seed: int) -> Outcome:
    return trial.outcome(seed)
