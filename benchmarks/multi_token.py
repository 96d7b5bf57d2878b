"""What each kind of guess gains where the model has a trained layer for it: tokens a second, in turn.

Run `python -m benchmarks.multi_token [--rounds 3]`. Two, then three agents of one thread each share the tiny
MiMo of tests/data on this machine, behind links of 5 ms one way. Questions of its grammar are asked without
guesses, by prompt lookup, by the model's own layer for multi-token prediction and by whatever is best, in
turn; the answers must have the same tokens. The model computes next to nothing: what is measured are the ways
that a guess saves. Prints the ratios and writes all to benchmarks/results/multi_token.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import mesh
from benchmarks.beside.links import Link
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from benchmarks.tiny_mimo.grammar import turn
from mesh.store.pull import Puller
from mesh.store.shelf import ModelStore
from mesh.types import Drafting, Guesses, Summary
from simulator.real.machine import describe_machine

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "tiny-mimo"
LINK = Link(0.005, 400e6)
RESULTS = Path(__file__).parent / "results" / "multi_token.json"
WAYS = (Drafting.NONE, Drafting.LOOKUP, Drafting.MTP, Drafting.AUTO)

_UNSEEN = 9_000_001  # a seed that training did not use
_LEAST_TOKENS, _MOST_TOKENS = 60, 240  # of an answer: in a shorter one there is nothing to learn by
_NUM_QUESTIONS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, answered in one way."""

    num_stages: int
    question: str
    temperature: float
    by: Drafting
    summary: Summary

    @property
    def guesses(self) -> Guesses:
        """What was guessed; nothing where nobody did."""
        return self.summary.guesses or Guesses(0)

    @property
    def acceptance(self) -> float | None:
        """Share of the guesses sent that were right; None where none was sent."""
        sent = self.guesses.num_drafted
        return self.guesses.num_right / sent if sent else None

    @property
    def a_traversal(self) -> float:
        """Tokens for each time that the stages were waited for."""
        return self.guesses.accept_length or 1.0


def questions() -> list[str]:
    """Return questions of the grammar whose answers are long enough."""
    random = Random(_UNSEEN)
    turns = (turn(random) for _ in range(1000))
    long = (question for question, answer in turns if _LEAST_TOKENS <= len(answer) <= _MOST_TOKENS)
    return list(dict.fromkeys(long))[:_NUM_QUESTIONS]


async def ask(home: MeshHome, prompt: str, temperature: float, by: Drafting) -> Summary:
    """Ask one question in one way."""
    async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
        answer = client.chat(
            prompt,
            model=home.model,
            max_tokens=_MOST_TOKENS,
            temperature=temperature,
            seed=1,
            drafting=by.value,
        )
        await answer.text()
        return answer.summary


async def in_turn(home: MeshHome, prompt: str, temperature: float, first: int) -> list[Asked]:
    """Ask one question in all ways, beginning with another one each time."""
    order = (*WAYS[first % len(WAYS) :], *WAYS[: first % len(WAYS)])
    found = [
        Asked(len(home.shares), prompt, temperature, by, await ask(home, prompt, temperature, by))
        for by in order
    ]
    if len({one.summary.tokens for one in found}) > 1:
        raise SystemExit(f"{prompt}: other tokens with guesses than without")
    return found


async def measured(data_dir: Path, num_stages: int, num_rounds: int) -> list[Asked]:
    """All questions in turn, so many times."""
    setting = MeshSetting(data_dir, FOLDER.name, num_devices=num_stages, num_users=1)
    found: list[Asked] = []
    async with mesh_home(setting, LINK) as home:
        for number in range(num_rounds):
            for at, prompt in enumerate(questions()):
                for temperature in (0.0, 0.8):
                    turns = await in_turn(home, prompt, temperature, number + at)
                    print(f"{num_stages} stages, {temperature}: {_line(turns)}", flush=True)  # noqa: T201
                    found += turns
    return found


def _line(turns: list[Asked]) -> str:
    rates = {one.by: one.summary.tokens_per_s for one in turns}
    return ", ".join(f"{by.value} {rates[by]:.1f} tokens/s" for by in WAYS)


def rows(found: list[Asked]) -> Iterator[dict[str, object]]:
    """Sum up by number of stages, temperature and way: medians, and what they are medians of."""
    for key in dict.fromkeys((one.num_stages, one.temperature) for one in found):
        of_it = [one for one in found if (one.num_stages, one.temperature) == key]
        plain = [one.summary.tokens_per_s for one in of_it if one.by is Drafting.NONE]
        for by in WAYS:
            yield {"stages": key[0], "temperature": key[1], **_row([o for o in of_it if o.by is by], plain)}


def _row(of_way: list[Asked], plain: list[float]) -> dict[str, object]:
    rates = [one.summary.tokens_per_s for one in of_way]
    ratios = [rate / base for rate, base in zip(rates, plain, strict=True)]
    accepted = [one.acceptance for one in of_way if one.acceptance is not None]
    return {
        "drafting": of_way[0].by.value,
        "tokens_per_s": round(statistics.median(rates), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "acceptance": round(statistics.median(accepted), 3) if accepted else None,
        "tokens_a_traversal": round(statistics.median(one.a_traversal for one in of_way), 2),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    num_rounds = parser.parse_args().rounds
    load_before = os.getloadavg()[0]
    found: list[Asked] = []
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as data_dir:
        Puller(ModelStore(Path(data_dir))).pull(str(FOLDER))
        for num_stages in (2, 3):
            found += asyncio.run(measured(Path(data_dir), num_stages, num_rounds))
    summed = list(rows(found))
    for row in summed:
        print({key: value for key, value in row.items() if key != "ratios"})  # noqa: T201
    machine = describe_machine() | {"load_before": round(load_before, 2)}
    RESULTS.write_text(json.dumps({"machine": machine, "rows": summed}, indent=2) + "\n")


if __name__ == "__main__":
    main()
