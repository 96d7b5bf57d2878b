"""The smallest script that still fails in the same way.

Owns the search: devices, faults and requests by delta debugging, then times, again and again until nothing
more can go. The same failing script always gives the same small one. Must not know how a script is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from mesh.errors import BadSetting
from simulator.result import Complaint, RunResult
from simulator.script import Script
from simulator.search.ddmin import complements, ddmin
from simulator.search.trial import Run
from simulator.search.without import (
    asked_elsewhere,
    ending_earlier,
    with_devices,
    with_faults,
    with_requests,
    with_shorter_fault,
    with_shorter_request,
)

MAX_RUNS = 1000
"""Some minutes of household runs."""

_NUM_OTHER_SEEDS = 16
"""Other chances that a script gets when one more thing is left out of it. What fails by a coincidence seldom
fails at the first try without a device whose messages had their share in it."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What a search came to."""

    result: RunResult
    """The run of the smallest script that was found."""
    complaint: Complaint
    """What both the large and the small run fail of, as the small one has it."""
    num_runs: int
    is_minimal: bool
    """No device, fault or request can be left out alone, under this seed or some others.

    False where the runs did not suffice to know.
    """


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a search is, for who waits."""

    num_runs: int
    num_devices: int
    num_faults: int
    num_requests: int


class _NoRunsLeft(Exception):
    """The limit is reached."""


def shrink(
    script: Script,
    name: str,
    run: Run,
    max_runs: int = MAX_RUNS,
    progress: Callable[[Stage], None] | None = None,
) -> Shrunk:
    """Make a script smaller as long as a complaint of that name and cause remains.

    Raises BadSetting where the script itself does not fail so.
    """
    first = run(script)
    complaint = next((complaint for complaint in first.complaints if complaint.name == name), None)
    if complaint is None:
        raise BadSetting(
            f"the run does not fail of '{name}' now, so there is nothing to shrink; "
            f"see what differs with `mesh-sim replay FILE`"
        )
    search = _Search(first, complaint, run, max_runs, progress)
    is_minimal = True
    try:
        while search.can_be_smaller() or search.can_be_smaller_by_chance():
            pass
    except _NoRunsLeft:
        is_minimal = False
    return Shrunk(search.smallest, search.complaint, search.num_runs, is_minimal)


def _without_one(script: Script) -> Iterator[Script]:
    """Yield the script without each of its devices, faults and requests; the last items go first.

    What was to be asked on a device that is left out is also tried on each of the others.
    """
    for rest in complements(script.devices, len(script.devices)):
        yield with_devices(script, rest)
        for stand_in in rest:
            yield with_devices(asked_elsewhere(script, stand_in.name, rest), rest)
    for faults in complements(script.faults, len(script.faults)):
        yield with_faults(script, faults)
    for requests in complements(script.requests, len(script.requests)):
        yield with_requests(script, requests)


def _alike(result: RunResult, known: Complaint) -> Complaint | None:
    """Return a run's complaint that is of the same name and cause: what fails otherwise explains nothing."""
    same = (c for c in result.complaints if (c.name, c.cause) == (known.name, known.cause))
    return next(same, None)


@dataclass(slots=True)
class _Search:
    """The smallest failing run so far, and every script that did not fail."""

    smallest: RunResult
    complaint: Complaint
    run: Run
    max_runs: int
    progress: Callable[[Stage], None] | None
    num_runs: int = 1
    harmless: set[Script] = field(default_factory=set)

    def can_be_smaller(self) -> bool:
        """Go once through all that could be left out or shortened; whether anything could."""
        before = self.smallest.script
        self._drop()
        self._shorten()
        return self.smallest.script != before

    def can_be_smaller_by_chance(self) -> bool:
        """Leave out each thing alone once more, under other seeds; whether anything could go."""
        script = self.smallest.script
        return any(
            self.still_fails(replace(candidate, seed=candidate.seed + 1 + chance))
            for candidate in _without_one(script)
            for chance in range(_NUM_OTHER_SEEDS)
        )

    def still_fails(self, script: Script) -> bool:
        """Run a script, if it is new; keep its run where it fails in the same way."""
        if script in self.harmless:
            return False
        if self.num_runs >= self.max_runs:
            raise _NoRunsLeft
        self.num_runs += 1
        fails = self._fails(script)
        self._tell()
        if not fails:
            self.harmless.add(script)
        return fails

    def _fails(self, script: Script) -> bool:
        try:
            result = self.run(script)
        except Exception:  # a script that cannot be run at all fails in another way
            return False
        complaint = _alike(result, self.complaint)
        if complaint:
            self.smallest, self.complaint = result, complaint
        return complaint is not None

    def _drop(self) -> None:
        whole = self.smallest.script
        ddmin(whole.devices, lambda devices: self.still_fails(with_devices(whole, devices)))
        fewer = self.smallest.script
        ddmin(fewer.faults, lambda faults: self.still_fails(with_faults(fewer, faults)))
        calmer = self.smallest.script
        ddmin(calmer.requests, lambda requests: self.still_fails(with_requests(calmer, requests)))

    def _shorten(self) -> None:
        self._repeat(self._earlier)
        for place in range(len(self.smallest.script.faults)):
            self._repeat(partial(with_shorter_fault, place=place))
        for place in range(len(self.smallest.script.requests)):
            self._repeat(partial(with_shorter_request, place=place))

    def _repeat(self, shorter: Callable[[Script], Iterator[Script]]) -> None:
        """Take the first shorter script that fails, and again from there."""
        while any(self.still_fails(candidate) for candidate in shorter(self.smallest.script)):
            pass

    def _earlier(self, script: Script) -> Iterator[Script]:
        is_promise = any(promise.name == self.complaint.name for promise in script.eventually)
        return ending_earlier(script, self.complaint.at_s, is_promise=is_promise)

    def _tell(self) -> None:
        if self.progress:
            script = self.smallest.script
            sizes = len(script.devices), len(script.faults), len(script.requests)
            self.progress(Stage(self.num_runs, *sizes))
