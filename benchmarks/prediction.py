"""How far predictions are off: seconds a token as predicted, beside as measured, with real agents.

Run `python -m benchmarks.prediction [--answers 8]`. One, two and three agents of one thread each share a
small model on this machine, on loopback and behind a shaped link of 2.5 ms one way. Each answer says
beforehand what a token will take; the benchmark compares. Prints the ratio answer by answer and writes all to
benchmarks/results/prediction.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path

import mesh
from benchmarks.beside.links import LOOPBACK, Link
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from nodes.options import DEFAULT_MODEL, default_data_dir
from simulator.real.machine import describe_machine

NUM_TOKENS = 96
LINKS = {"loopback": LOOPBACK, "2.5 ms one way": Link(0.0025, 400e6)}
RESULTS = Path(__file__).parent / "results" / "prediction.json"
LEARNT = 3
"""After so many answers a prediction is held to what it says."""


async def ratios(home: MeshHome, num_answers: int) -> list[float]:
    """Predicted over measured seconds of a token, answer by answer."""
    found = []
    async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
        for _ in range(num_answers):
            answer = client.chat(
                home.prompts.story(), model=home.model, max_tokens=NUM_TOKENS, drafting="none"
            )
            await answer.text()
            chosen = answer.decision.chosen if answer.decision else None
            if chosen is None or chosen.prediction is None:
                raise SystemExit("nothing was predicted: the agents do not know how fast they are")
            found.append(chosen.prediction.token_s * answer.summary.tokens_per_s)
    return found


async def measured(num_devices: int, link: Link, num_answers: int) -> list[float]:
    """The ratios of agents that have just started."""
    setting = MeshSetting(default_data_dir(), DEFAULT_MODEL, num_devices, num_users=1)
    async with mesh_home(setting, link) as home:
        return await ratios(home, num_answers)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=8)
    num_answers = parser.parse_args().answers
    words = ("bench", "device", "--threads", "1", "--json")
    subprocess.run([sys.executable, "-m", "nodes.cli", *words], check=True, stdout=subprocess.DEVNULL)
    rows, later = list[dict[str, object]](), list[float]()
    for name, link in LINKS.items():
        for num_devices in (1, 2, 3):
            found = asyncio.run(measured(num_devices, link, num_answers))
            later += [abs(one - 1) for one in found[LEARNT:]]
            rows.append({"link": name, "devices": num_devices, "ratios": [round(one, 3) for one in found]})
            shown = " ".join(f"{one:.2f}" for one in found)
            print(f"{name:<16} {num_devices} devices   predicted/measured {shown}")  # noqa: T201
    share = sum(error <= 0.15 for error in later) / len(later)
    line = f"after {LEARNT} answers: median error {statistics.median(later):.1%}, within 15 %: {share:.0%}"
    print(line)  # noqa: T201
    result = {"machine": describe_machine(), "rows": rows, "within_15_percent": round(share, 3)}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
