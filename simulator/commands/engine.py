"""What the commands run with: scenarios, scripts, and the mathematics that was chosen.

Owns the way from a person's words to a run. Must not know how a run is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path

from mesh.errors import BadSetting
from simulator.commands.bars import bar
from simulator.result import RunResult
from simulator.run import Parts, run_script
from simulator.scenario import expand, load
from simulator.script import Script
from simulator.search.replay import SUFFIX, Recording, read, recording_of
from simulator.search.trial import Run, Trial


class Maths(StrEnum):
    """What computes in virtual devices."""

    TOKEN = "token"
    """A tiny deterministic function."""
    REAL = "real"
    """The real model."""


def script_of(scenario: str, seed: int | None) -> Script:
    """Make a script of a scenario's name or file; without a seed, of its own one. Raises BadSetting."""
    loaded = load(scenario)
    return expand(loaded, loaded.seed if seed is None else seed)


def trial_of(scenario: str) -> Trial:
    """Return what a sweep does with each seed of a scenario; raises BadSetting."""
    return Trial(partial(expand, load(scenario)), run_script)


def runner(maths: Maths, progress: Callable[[float], None] | None = None) -> Run:
    """Return what runs a script. The real model is imported here and not before."""
    parts = Parts() if maths is Maths.TOKEN else import_module("simulator.real.maths").parts()
    return partial(run_script, parts=parts, progress=progress)


def run_with_bar(script: Script, maths: Maths) -> RunResult:
    """Run a script, with a bar of its virtual seconds."""
    with bar(f"{script.scenario}, seed {script.seed}", script.duration_s) as show:
        return runner(maths, show)(script)


def run_in_real_processes(script: Script, maths: Maths) -> RunResult:
    """Run a script with real agents; see `simulator.real`."""
    result: RunResult = import_module("simulator.real.process_mode").run_with(script, maths.value)
    return result


@dataclass(frozen=True, slots=True)
class Named:
    """A run that a person named: a recording's file, or SCENARIO@SEED."""

    name: str

    def recording(self) -> Recording:
        """Read the file, or run the scenario; raises BadSetting."""
        path = Path(self.name)
        if path.is_file() or self.name.endswith(SUFFIX):
            return read(path)
        scenario, _, seed = self.name.rpartition("@")
        if not scenario or not (seed.isascii() and seed.isdecimal()):
            raise BadSetting(
                f"'{self.name[:200]}' names no run; "
                f"give a recording's file, or SCENARIO@SEED like evening_home@7"
            )
        return recording_of(run_with_bar(script_of(scenario, int(seed)), Maths.TOKEN))
