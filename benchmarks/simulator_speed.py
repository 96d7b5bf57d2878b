"""What the simulator costs: a household, a block of flats, and how much faster than life both are.

Run `make bench`, or `python -m benchmarks.simulator_speed [ROUNDS]`. A household is four devices that answer
with 200 tokens in ten virtual seconds, timed in this process after one run that warms it up. The block is the
shipped scenario `apartment_block`, in a process of its own so that its memory can be told. Prints the figures
and writes them with the machine's description to benchmarks/results/simulator_speed.json.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from simulator.result import RunResult
from simulator.run import run_script
from simulator.scenario import expand, load, parse
from simulator.script import Script

RESULTS = Path(__file__).parent / "results" / "simulator_speed.json"
BLOCK = "apartment_block"

HOUSEHOLD = """
summary = "ten seconds in a household of four, in which three devices answer with 200 tokens"
duration = "10s"
models = ["smollm2:135m"]

[[devices]]
name = "phone"
profile = "xiaomi_15_ultra"
memory = "60MB"
count = 2

[[devices]]
name = "laptop"
profile = "laptop_ryzen_ai_340"
memory = "60MB"

[[devices]]
name = "mini"
profile = "mac_mini_m4"
memory = "60MB"

[[workload]]
from = "laptop"
at = "1s"
prompt = "Tell me a story about a fox."
max_tokens = 200
"""


def timed(script: Script) -> tuple[RunResult, float]:
    """A run and its seconds."""
    began_s = time.perf_counter()  # noqa: TID251  a benchmark runs on the real clock
    result = run_script(script)
    return result, time.perf_counter() - began_s  # noqa: TID251


def household(rounds: int) -> dict[str, object]:
    """Seconds of each round of the small household."""
    script = expand(parse(HOUSEHOLD, "household", "household"), 1)
    run_script(script)
    times_s = [timed(script)[1] for _ in range(rounds)]
    result = run_script(script)
    return {
        "virtual_s": result.ended_s,
        "num_tokens": result.figures.num_tokens,
        "num_stages": result.requests[0].num_stages,
        "wall_s": times_s,
        "median_wall_s": statistics.median(times_s),
        "virtual_s_per_s": result.ended_s / statistics.median(times_s),
    }


def block() -> dict[str, object]:
    """The block of flats, in this process."""
    script = expand(load(BLOCK), load(BLOCK).seed)
    result, wall_s = timed(script)
    return {
        "num_devices": len(script.devices),
        "num_households": len(script.lans),
        "verdict": result.verdict.value,
        "virtual_s": result.ended_s,
        "num_messages": result.figures.num_messages,
        "num_answered": result.figures.num_answered,
        "wall_s": wall_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def main() -> None:
    """Measure, print and keep the figures."""
    if sys.argv[1:] == ["block"]:
        sys.stdout.write(json.dumps(block()))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulator_speed", "block"],
        capture_output=True,
        check=True,
        text=True,
    )
    figures = {
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
        "household": household(rounds),
        "block": json.loads(ran.stdout),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
