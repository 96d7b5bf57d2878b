"""Every device of the demo killed at many tokens: the answers must be those of the undisturbed demo.

Owns the commands that are run and the comparison. Run by `python -m benchmarks.failover --matrix`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

PROMPT = "Tell me a story about a fox."
"""Its answers are longer than any that is asked for here."""
LAST_TOKEN = 39
"""The last one at which a device is lost."""

_NUM_TOKENS = LAST_TOKEN + 9
_TEMPERATURES = (0.0, 0.8)
_DEVICES = ("phone", "car", "tv")
_SEED = 7


@dataclass(frozen=True, slots=True)
class _Run:
    """One demo."""

    kill: str | None
    temperature: float
    tokens: tuple[int, ...]
    recoveries: tuple[dict[str, float], ...]
    """As `mesh demo --json` has them."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """What all of them came to."""

    runs: tuple[_Run, ...]
    """Without the undisturbed ones."""
    num_equal: int
    """Those whose tokens are those of the undisturbed run."""

    def json(self) -> dict[str, object]:
        """Everything, for the results."""
        return {
            "num_runs": len(self.runs),
            "num_equal": self.num_equal,
            "runs": [asdict(r) for r in self.runs],
        }


def run_matrix(num_kills: int) -> Matrix:
    """Kill every device at so many random tokens each, at both temperatures; say how each went."""
    rng, runs, num_equal = random.Random(_SEED), list[_Run](), 0
    for temperature in _TEMPERATURES:
        expected = _demo(temperature)
        if len(expected.tokens) <= LAST_TOKEN:
            raise click.ClickException(f"the undisturbed demo gave {expected}; it should have more tokens")
        for kill in _kills(num_kills, rng):
            runs.append(_demo(temperature, kill))
            is_equal = runs[-1].tokens == expected.tokens and runs[-1].error is None
            num_equal += is_equal
            click.echo(_line(runs[-1], is_equal=is_equal))
    click.echo(f"{num_equal} of {len(runs)} answers have the tokens of the undisturbed run")
    return Matrix(tuple(runs), num_equal)


def _kills(num_kills: int, rng: random.Random) -> Iterator[str]:
    for device in _DEVICES:
        for token in sorted(rng.sample(range(1, LAST_TOKEN + 1), num_kills)):
            yield f"{device}@{token}"


def _line(run: _Run, *, is_equal: bool) -> str:
    pauses = ", ".join(f"{recovery['stall_s']:.3f} s" for recovery in run.recoveries) or "none"
    said = run.error or f"pause {pauses}"
    return f"{run.kill:9} temperature {run.temperature:g}: {'equal' if is_equal else 'NOT EQUAL'}, {said}"


def _demo(temperature: float, kill: str | None = None) -> _Run:
    ran = subprocess.run(_words(temperature, kill), capture_output=True, text=True, check=False)
    shown = json.loads(ran.stdout) if ran.stdout else {}
    return _Run(
        kill=kill,
        temperature=temperature,
        tokens=tuple(shown.get("tokens", ())),
        recoveries=tuple(shown.get("recoveries", ())),
        error=ran.stderr.strip() if ran.returncode else None,
    )


def _words(temperature: float, kill: str | None) -> list[str]:
    options = {
        "--prompt": PROMPT,
        "--max-tokens": str(_NUM_TOKENS),
        "--seed": str(_SEED),
        "--temperature": str(temperature),
    }
    if kill is not None:
        options["--kill"] = kill
    given = [word for pair in options.items() for word in pair]
    return [sys.executable, "-m", "nodes.cli", "demo", "--json", *given]
