"""Virtual devices that run the nodes of the mesh, unchanged, in virtual time.

    scenario = simulator.load("party_churn")          # or a path to a TOML file
    result = simulator.run_script(simulator.expand(scenario, seed=7))
    print(result.verdict, result.digest, result.figures)

Importing this package loads neither torch nor gRPC, and nothing of its own until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.parts import Parts
    from simulator.result import RunResult, Verdict
    from simulator.run import run_script
    from simulator.scenario import Scenario, expand, load, shipped
    from simulator.script import Script

__all__ = ["Parts", "RunResult", "Scenario", "Script", "Verdict", "expand", "load", "run_script", "shipped"]

_LAZY = {
    "Parts": "simulator.parts",
    "RunResult": "simulator.result",
    "Scenario": "simulator.scenario",
    "Script": "simulator.script",
    "Verdict": "simulator.result",
    "expand": "simulator.scenario",
    "load": "simulator.scenario",
    "run_script": "simulator.run",
    "shipped": "simulator.scenario",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'simulator' has no attribute '{name}'")
