"""The trace keeps the rules of the Trace Event Format."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import pytest

from simulator.report.perfetto import write_trace
from simulator.result import RunResult
from tests.simulator.report.results import block, broken_household, household, unmet_household


class Entry(TypedDict, total=False):
    """One event as read back."""

    ph: str
    name: str
    cat: str
    ts: float
    dur: float
    pid: int
    tid: int
    id: str | int
    s: str
    bp: str
    args: dict[str, str | float | None]


NEEDED = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid"},
    "i": {"name", "cat", "ts", "pid", "tid", "s"},
    "C": {"name", "ts", "pid", "args"},
    "b": {"name", "cat", "ts", "pid", "id"},
    "n": {"name", "cat", "ts", "pid", "id"},
    "e": {"name", "cat", "ts", "pid", "id"},
    "s": {"name", "cat", "ts", "pid", "tid", "id"},
    "f": {"name", "cat", "ts", "pid", "tid", "id", "bp"},
    "M": {"name", "pid", "args"},
}


def written(result: RunResult, folder: Path) -> list[Entry]:
    write_trace(result, folder / "trace.json")
    document = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["otherData"]["digest"] == result.digest
    entries: list[Entry] = document["traceEvents"]
    return entries


@pytest.fixture(params=[household, broken_household, unmet_household, lambda: block(3, num_requests=6)])
def entries(request: pytest.FixtureRequest, tmp_path: Path) -> list[Entry]:
    return written(request.param(), tmp_path)


def test_every_event_has_what_its_phase_needs_and_times_are_not_negative(entries: list[Entry]) -> None:
    for entry in entries:
        assert set(entry) >= NEEDED[entry["ph"]], entry
        assert entry.get("ts", 0) >= 0
        assert entry.get("dur", 0) >= 0


def test_every_process_and_thread_that_is_used_has_a_name(entries: list[Entry]) -> None:
    named = {entry["pid"] for entry in entries if entry["name"] == "process_name"}
    threads = {(entry["pid"], entry["tid"]) for entry in entries if entry["name"] == "thread_name"}
    for entry in entries:
        assert entry["pid"] in named
        if entry["ph"] in "Xisf":
            assert (entry["pid"], entry["tid"]) in threads


def test_what_begins_also_ends_once_and_later(entries: list[Entry]) -> None:
    ends: dict[tuple[str, str | int, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["ph"] in "bne":
            ends[entry["cat"], entry["id"], entry["pid"]].append(entry)
    assert ends
    for lived in ends.values():
        phases = [entry["ph"] for entry in lived]
        assert (phases[0], phases[-1]) == ("b", "e")
        assert set(phases[1:-1]) <= {"n"}
        assert [entry["ts"] for entry in lived] == sorted(entry["ts"] for entry in lived)


def test_slices_of_one_thread_never_overlap(entries: list[Entry]) -> None:
    threads: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for entry in entries:
        if entry["ph"] == "X":
            threads[entry["pid"], entry["tid"]].append((entry["ts"], entry["ts"] + entry["dur"]))
    assert threads
    for slices in threads.values():
        slices.sort()
        for before, after in pairwise(slices):
            assert before[1] <= after[0] + 1e-3  # a nanosecond of rounding


def test_arrows_have_both_ends_inside_slices(entries: list[Entry]) -> None:
    tails = {entry["id"]: entry for entry in entries if entry["ph"] == "s"}
    heads = {entry["id"]: entry for entry in entries if entry["ph"] == "f"}
    assert tails
    assert set(tails) == set(heads)
    slices: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["ph"] == "X":
            slices[entry["pid"], entry["tid"]].append(entry)
    for link, tail in tails.items():
        assert tail["ts"] <= heads[link]["ts"]
        for end in (tail, heads[link]):
            around = slices[end["pid"], end["tid"]]
            assert any(s["ts"] <= end["ts"] <= s["ts"] + s["dur"] + 1e-3 for s in around)


def test_frames_loads_faults_counters_requests_and_messages_are_all_there(tmp_path: Path) -> None:
    result = household()
    entries = written(result, tmp_path)
    num: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        num[entry["ph"], entry.get("cat", "")] += 1
    assert num["X", "frame"] == 200  # 100 tokens through 2 stages
    assert num["X", "load"] == 4
    assert num["X", "state"] == 1  # the laptop's pause
    assert num["i", "fault"] == 7  # three faults, begun and ended, and the healing
    assert num["b", "request"] == 2
    assert num["n", "request"] == 100
    assert num["b", "message"] == result.figures.num_messages
    counters = {entry["name"] for entry in entries if entry["ph"] == "C"}
    assert counters == {"memory MB", "battery %", "temperature °C", "sessions"}


def test_frames_that_run_at_once_get_threads_of_their_own(tmp_path: Path) -> None:
    result = block(1, num_requests=4, num_tokens=6)  # one stage, four answers together
    entries = written(result, tmp_path)
    names = {str(entry["args"]["name"]) for entry in entries if entry["name"] == "thread_name"}
    assert "stage [0, 12)" in names
    assert "stage [0, 12) (2)" in names
