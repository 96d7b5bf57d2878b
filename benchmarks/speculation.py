"""What guessing ahead gains: tokens a second with and without it.

Run `python -m benchmarks.speculation [--rounds 5]`. Two agents of one thread each share SmolLM2 on this
machine, behind a shaped link. Every question, of those whose answers repeat what was said and those whose
answers do not, is asked with and without guesses, in turn; the answers must have the same tokens. Prints the
ratios and writes all to benchmarks/results/speculation.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mesh
from benchmarks.beside.links import Link
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from mesh.types import Drafting, Summary
from nodes.options import DEFAULT_MODEL, default_data_dir
from simulator.real.machine import describe_machine

LINK = Link(0.0025, 400e6)
NUM_TOKENS = 128
RESULTS = Path(__file__).parent / "results" / "speculation.json"

PASSAGE = (
    "The lighthouse at Cape Wren was built in 1874 by a crew of forty masons, who carried every stone up the "
    "cliff by hand. Its lamp burned whale oil until 1902, when the keeper, Margaret Doyle, persuaded the "
    "harbour board to pay for an electric one. Ships could then see it from nineteen miles away, and in the "
    "next ten years not a single vessel was lost on the reef below."
)

CODE = """def total_price(items, tax_rate):
    total = 0
    for item in items:
        total = total + item.price * item.quantity
    total = total + total * tax_rate
    return total


def average_price(items):
    total = 0
    for item in items:
        total = total + item.price
    return total / len(items)"""


GREETINGS = """def greet(name):
    message = "Hello, " + name
    print(message)
    return message


def farewell(name):
    message = "Goodbye, " + name
    print(message)
    return message"""

SETTINGS = """host = "192.168.1.20"
port = 8080
name = "kitchen"
retries = 3
timeout_s = 10
cache_mb = 256
log_level = "info"
log_file = "/var/log/kitchen.log\""""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to ask, and how."""

    name: str
    prompt: str
    repeats: bool
    """Whether its answer is mostly to be found in it."""
    temperature: float = 0.0


QUESTIONS = (
    Question("quote a passage", f"{PASSAGE}\n\nRepeat the text above word for word.", repeats=True),
    Question("sum up a passage", f"Summarise this text in two sentences:\n\n{PASSAGE}", repeats=True),
    Question(
        "edit code",
        f"{GREETINGS}\n\nRepeat the code above word for word, with `title` instead of `name`.",
        repeats=True,
    ),
    Question(
        "edit a file", f"Change the port to 9090 and write out the whole file:\n\n{SETTINGS}", repeats=True
    ),
    # So small a model does not do that: it writes other code, of which little stood before.
    Question(
        "rewrite code", f"{CODE}\n\nWrite that again, with `items` renamed to `products`.", repeats=False
    ),
    Question("a story", "Tell me a story about a fox who learns to sail.", repeats=False, temperature=0.8),
    Question("advice", "How do I prepare for a job interview? Explain.", repeats=False, temperature=0.8),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with and without guesses."""

    question: Question
    plain: Summary
    guessed: Summary

    @property
    def ratio(self) -> float:
        """Times as many tokens a second with guesses."""
        return self.guessed.tokens_per_s / self.plain.tokens_per_s


async def ask(home: MeshHome, question: Question, drafting: Drafting, seed: int) -> Summary:
    """Ask one question; no prompt is like another, so nothing is reused."""
    prompt = f"({seed}) {question.prompt}"
    async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
        answer = client.chat(
            prompt,
            model=home.model,
            max_tokens=NUM_TOKENS,
            temperature=question.temperature,
            seed=seed,
            drafting=drafting.value,
        )
        await answer.text()
        return answer.summary


async def measured(num_rounds: int) -> list[Pair]:
    """All questions in turn, so many times."""
    setting = MeshSetting(default_data_dir(), DEFAULT_MODEL, num_devices=2, num_users=1)
    pairs: list[Pair] = []
    async with mesh_home(setting, LINK) as home:
        for number in range(num_rounds):
            for question in QUESTIONS:
                order = (Drafting.NONE, Drafting.LOOKUP) if number % 2 else (Drafting.LOOKUP, Drafting.NONE)
                found = {drafting: await ask(home, question, drafting, number) for drafting in order}
                pair = Pair(question, found[Drafting.NONE], found[Drafting.LOOKUP])
                if pair.plain.tokens != pair.guessed.tokens:
                    raise SystemExit(f"{question.name}: other tokens with guesses than without")
                pairs.append(pair)
                print(_line(pair), flush=True)  # noqa: T201
    return pairs


def _line(pair: Pair) -> str:
    guesses = pair.guessed.guesses
    assert guesses is not None
    return (
        f"{pair.question.name:<18} {pair.plain.tokens_per_s:5.1f} {pair.guessed.tokens_per_s:5.1f} tokens/s  "
        f"ratio {pair.ratio:.2f}   {guesses.num_right} of {guesses.num_drafted} right, "
        f"{guesses.accept_length:.2f} tokens a traversal"
    )


def _rows(pairs: list[Pair]) -> Iterator[dict[str, object]]:
    for question in QUESTIONS:
        of_it = [pair for pair in pairs if pair.question is question]
        ratios = [pair.ratio for pair in of_it]
        lengths = [pair.guessed.guesses.accept_length for pair in of_it if pair.guessed.guesses]
        yield {
            "question": question.name,
            "repeats_itself": question.repeats,
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "accept_length": round(statistics.median(lengths), 3),
        }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    pairs = asyncio.run(measured(parser.parse_args().rounds))
    rows = list(_rows(pairs))
    for row in rows:
        line = f"{row['question']:<18} median ratio {row['ratio']}, accept length {row['accept_length']}"
        print(line)  # noqa: T201
    RESULTS.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
