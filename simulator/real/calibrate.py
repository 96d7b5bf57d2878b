"""Calibration: scenarios in virtual time and with real processes, and how far apart they are.

Owns the order of measuring. In each round this machine's own costs are measured first, then the agents run,
then the prediction is made with those costs; so what the machine does from hour to hour counts for both.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mesh.errors import InternalError
from simulator.parts import Parts
from simulator.real.clock import precise_loop
from simulator.real.comparing import Comparison, Round
from simulator.real.control import EngineKind
from simulator.real.host_costs import with_host_costs
from simulator.real.household import ProcessOptions
from simulator.real.machine import describe_machine
from simulator.real.probe import measure_host
from simulator.real.process_mode import act_out
from simulator.result import RunResult
from simulator.run import run_script
from simulator.scenario import expand, load
from simulator.script import Script

SCENARIOS = ("calibrate_1ms", "calibrate_5ms")

Show = Callable[[str], None]


def measure(scenarios: Sequence[str], num_rounds: int, options: ProcessOptions, show: Show) -> list[Round]:
    """Run every scenario in both modes, round after round; raises MeshError."""
    scripts = [expand(loaded, loaded.seed) for loaded in map(load, scenarios)]
    rounds = []
    for number in range(1, num_rounds + 1):
        for script in scripts:
            show(f"round {number} of {num_rounds}: {script.scenario}")
            rounds.append(_round(script, options))
    return rounds


def _round(script: Script, options: ProcessOptions) -> Round:
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        costs = runner.run(measure_host())
        acted = runner.run(act_out(script, options))
    predicted = _predict(with_host_costs(script, costs), options)
    _must_be_answered(acted.result)
    return Round(script.scenario, costs, predicted.requests, acted.result.requests, acted.late_s)


def _predict(script: Script, options: ProcessOptions) -> RunResult:
    """Run in virtual time, with the same tokenizer and answers: their lengths count."""
    if options.engine is EngineKind.TOKENS:
        return run_script(script)
    parts: Callable[[Path], Parts] = import_module("simulator.real.maths").parts
    return run_script(script, parts(options.data_dir))


def _must_be_answered(result: RunResult) -> None:
    for record in result.requests:
        if record.error is not None:
            raise InternalError(
                f"request {record.number} of {result.script.scenario} failed with '{record.error}'; "
                "only scenarios whose requests are all answered can be compared"
            )


def to_json(comparisons: Sequence[Comparison], rounds: Sequence[Round]) -> dict[str, object]:
    """All that was found, with the raw runs, as values that JSON has."""
    return {
        "machine": describe_machine(),
        "comparisons": [
            dataclasses.asdict(one) | {"error": one.error, "is_close": one.is_close} for one in comparisons
        ],
        "rounds": [dataclasses.asdict(one) for one in rounds],
    }


def table(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as lines for a person."""
    head = f"{'scenario':16} {'metric':28} {'predicted':>12} {'measured':>12} {'error':>8}  limit"
    return "\n".join([head, *(_row(comparison) for comparison in comparisons)])


def _row(one: Comparison) -> str:
    mark = "" if one.is_close else "  too far"
    times = f"{one.predicted_s * 1000:9.1f} ms {one.measured_s * 1000:9.1f} ms"
    name = one.metric.replace("_", " ")
    return f"{one.scenario:16} {name:28} {times} {one.error:+8.1%}  {one.limit:>5.0%}{mark}".rstrip()
