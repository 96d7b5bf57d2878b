"""The soak of `make soak`, in three minutes: MESH_SOAK_S says how long. Nothing else may run beside it."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys

import pytest

from benchmarks.soak import soak, tell

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.model]

SECONDS = float(os.environ.get("MESH_SOAK_S", "180"))
_MORE_S = 420.0  # for starting, loading, warming up and settling on a busy machine


def test_eight_users_who_come_and_go_leave_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    assert sys.__stderr__ is not None
    # pytest's own limit is for tests that should take seconds; it is set anew for each test.
    faulthandler.dump_traceback_later(SECONDS + _MORE_S, exit=True, file=sys.__stderr__)
    with capsys.disabled():
        soaked = asyncio.run(soak(SECONDS, seed=1))
        tell(soaked)
    assert soaked.complaints() == []
    assert soaked.tally.num_answers > 8
    assert soaked.tally.num_given_up > 8
