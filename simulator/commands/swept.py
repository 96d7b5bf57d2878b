"""How a sweep is shown, in words and as JSON.

Owns the names of the JSON fields, which are stable, and the exit code of a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from simulator.commands.present import EXIT_CODES, command_line, complaint_line
from simulator.result import Verdict
from simulator.search.sweep import Spread, Sweep
from simulator.search.trial import Outcome, Raised

_MOST_LISTED = 10
"""Failing seeds in words; JSON has all."""


def exit_code(result: Sweep) -> int:
    """The worst of its runs': one that came to no end counts as broken."""
    if result.num_raised or result.num_of(Verdict.BROKEN):
        return EXIT_CODES[Verdict.BROKEN]
    return EXIT_CODES[Verdict.UNMET if result.num_of(Verdict.UNMET) else Verdict.HELD]


def sweep_words(scenario: str, result: Sweep, kept: Path | None) -> str:
    """The sweep for people."""
    return "\n".join([_heading(scenario, result), *_throughput(result), *_failures(scenario, result, kept)])


def sweep_json(scenario: str, seeds: range, result: Sweep, kept: Path | None) -> dict[str, object]:
    """`mesh-sim sweep --json`."""
    return {
        "scenario": scenario,
        "seeds": [seeds.start, seeds.stop],
        "digest": result.digest,
        "num_held": result.num_of(Verdict.HELD),
        "num_broken": result.num_of(Verdict.BROKEN),
        "num_unmet": result.num_of(Verdict.UNMET),
        "num_raised": result.num_raised,
        "failures": [_failure_json(scenario, failure) for failure in result.failures],
        "recording": str(kept) if kept else None,
        "figures": {name: asdict(spread) for name, spread in result.spreads().items()},
        "wall_s": result.wall_s,
        "runs_per_s": len(result.outcomes) / result.wall_s,
        "virtual_s": result.virtual_s,
        "num_events": result.num_events,
    }


def _heading(scenario: str, result: Sweep) -> str:
    counts = [(result.num_of(verdict), verdict.value) for verdict in Verdict]
    counts.append((result.num_raised, "without an end"))
    said = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    return f"{scenario}: {len(result.outcomes):,} seeds, {said}"


def _throughput(result: Sweep) -> Iterator[str]:
    runs_per_s, speed = len(result.outcomes) / result.wall_s, result.virtual_s / result.wall_s
    yield f"  speed        {runs_per_s:.1f} runs/s, {speed:,.0f} virtual seconds a second"
    yield f"  took         {result.wall_s:.1f} s for {result.num_events:,} events"
    spreads = result.spreads()
    for name, title in (("ttft_p50_s", "first token"), ("tpot_p50_s", "per token")):
        if name in spreads:
            yield f"  {title:<12} {_spread(spreads[name])} (medians of runs)"
    yield f"  digest       {result.digest}"


def _spread(spread: Spread) -> str:
    return f"{spread.least:.3g} s to {spread.most:.3g} s, half of the runs below {spread.median:.3g} s"


def _failures(scenario: str, result: Sweep, kept: Path | None) -> Iterator[str]:
    for failure in result.failures[:_MOST_LISTED]:
        yield f"seed {failure.seed}: {_what(failure)}"
        if isinstance(failure, Raised) and failure.traceback:
            yield "\n".join(f"  | {line}" for line in failure.traceback.splitlines())
        yield f"  {_again(scenario, failure)}"
    if (left_out := len(result.failures) - _MOST_LISTED) > 0:
        yield f"and {left_out:,} more; --json lists them all"
    if kept:
        yield f"The first failing run is kept in {kept}; make it small with"
        yield f"  {command_line('shrink', str(kept))}"


def _what(failure: Outcome) -> str:
    if isinstance(failure, Raised):
        return failure.text
    return f"{failure.verdict}: {'; '.join(complaint_line(c) for c in failure.complaints[:1])}"


def _again(scenario: str, failure: Outcome) -> str:
    return command_line("run", scenario, "--seed", failure.seed)


def _failure_json(scenario: str, failure: Outcome) -> dict[str, object]:
    shown: dict[str, object] = {"seed": failure.seed, "replay": _again(scenario, failure)}
    if isinstance(failure, Raised):
        return {**shown, "verdict": None, "error": failure.text, "traceback": failure.traceback}
    complaints = [asdict(complaint) for complaint in failure.complaints]
    return {**shown, "verdict": failure.verdict, "digest": failure.digest, "complaints": complaints}
