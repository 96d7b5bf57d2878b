"""A planted bug is found by a sweep, told, and made so small that one sees it."""

from __future__ import annotations

import pytest

from simulator.claims import Invariant
from simulator.report.story import tell
from simulator.result import RunResult
from simulator.run import run_script
from simulator.scenario import expand, load
from simulator.script import Script
from simulator.search.shrink import shrink
from tests.simulator.search import planted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> RunResult:
    """The first of 200 seeds that fails."""
    party = load("party_churn")
    runs = (planted.run(expand(party, seed)) for seed in range(200))
    return next(result for result in runs if result.complaints)


def test_a_stage_that_ignores_positions_after_a_reconnect_is_found_and_shrunk(found: RunResult) -> None:
    assert [complaint.name for complaint in found.complaints] == [Invariant.EXACT_TOKENS]
    shrunk = shrink(found.script, Invariant.EXACT_TOKENS, planted.run)
    script = shrunk.result.script
    assert shrunk.is_minimal
    assert 2 <= len(script.devices) <= 3
    assert 1 <= len(script.faults) <= 2
    assert "the undivided model gives" in tell(shrunk.result)
    assert holds_without_the_bug(script)


def holds_without_the_bug(script: Script) -> bool:
    return not run_script(script).complaints
