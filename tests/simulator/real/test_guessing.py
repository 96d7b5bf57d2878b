"""Real weights, guesses of every kind, and lost devices: the tokens are those of the undivided model.

`MESH_NUM_CASES=200 scripts/test tests/simulator/real/test_guessing.py` tries more cases than the suite does.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mesh.logic.speculation import Speculation
from mesh.roles import guessing
from simulator.loop import run
from simulator.real.models import ModelFiles
from tests.roles.test_failover import reset, stop_at_once
from tests.roles.world import Home
from tests.simulator.real.tiny_home import DRAFT_KB, OWN_KB, Asked, Heard, a_real_home, listen, undivided
from tests.tiny_mimo import FOLDER, questions, store_with, variant

pytestmark = pytest.mark.slow

NUM_CASES = int(os.environ.get("MESH_NUM_CASES", "20"))

KNOWS, DOUBTS = "knows", "doubts"
"""Models that guess: one has the same weights, the other is wrong now and then."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("models")
    others = variant(folder / KNOWS), variant(folder / DOUBTS, noise=0.6)
    return ModelFiles(store_with(folder / "data", FOLDER, *others))


@dataclass(frozen=True, slots=True)
class Case:
    """What is drawn for one case."""

    asked: Asked
    num_stages: int
    num_devices: int
    depth: int | None
    num_ahead: int
    draft_model: str
    happens: tuple[tuple[int, str], ...]
    """What goes wrong when so many tokens have come."""

    @classmethod
    def drawn(cls, number: int) -> Case:
        chance = random.Random(f"guessing/{number}")
        drafting = chance.choice(["none", "lookup", "mtp", "model", "auto"])
        temperature = chance.choice([0.0, 0.8])
        (question,) = questions(1, number)
        acts = [(chance.randint(1, 40), chance.choice(tuple(ACTS))) for _ in range(chance.randint(0, 2))]
        return cls(
            Asked(question, drafting, temperature, chance.randrange(1000)),
            chance.randint(1, 3),
            chance.choice([3, 4]),
            chance.choice([None, *range(8)]),
            chance.randint(0, 4),
            chance.choice([KNOWS, DOUBTS]),
            tuple(acts),
        )


def _freeze(home: Home, name: str) -> None:
    home.freeze(name)
    asyncio.get_running_loop().call_later(2.0, home.thaw, name)


def _power_cut(name: str) -> Callable[[Home], None]:
    return lambda home: home.power_cut(name)


def _stop(name: str) -> Callable[[Home], None]:
    return lambda home: stop_at_once(home, name)


ACTS: dict[str, Callable[[Home], object]] = {
    "the tv loses its power": _power_cut("tv"),
    "the car loses its power": _power_cut("car"),
    "the phone loses its power": _power_cut("phone"),
    "the tv is killed": _stop("tv"),
    "the car is killed": _stop("car"),
    "all links break": reset,
    "links between car and tv break": lambda home: home.cut_links("car", "tv"),
    "the car leaves": lambda home: home.nodes["car"].node.stop(),
    "the tv stands still": lambda home: _freeze(home, "tv"),
    "the car stands still": lambda home: _freeze(home, "car"),
}


def answered(files: ModelFiles, case: Case) -> Heard:
    """Answer a case's question in a home of its own, and look at what is left there."""

    async def main() -> Heard:
        async with a_real_home(
            files,
            case.num_stages,
            spare_kb=OWN_KB[1] + DRAFT_KB,
            draft_model=case.draft_model,
            num_devices=case.num_devices,
        ) as home:
            happens = {at: lambda act=act: ACTS[act](home) for at, act in case.happens}
            heard = await listen(home, case.asked, happens)
            await asyncio.sleep(6)
            acts = [act for _, act in case.happens]
            sound = [
                node for name, node in home.nodes.items() if not any(f"the {name} " in act for act in acts)
            ]
            assert sum(node.num_open for node in sound) == 0
            return heard

    return run(main())


@pytest.mark.parametrize("number", range(NUM_CASES))
def test_whatever_is_guessed_and_lost_the_tokens_are_those_of_the_undivided_model(
    monkeypatch: pytest.MonkeyPatch, files: ModelFiles, number: int
) -> None:
    case = Case.drawn(number)
    monkeypatch.setattr(
        guessing, "Speculation", lambda drafters, *_: Speculation(drafters, case.depth, case.num_ahead)
    )
    heard = answered(files, case)
    assert heard.num_stages == case.num_stages
    assert heard.tokens == undivided(files, case.asked)
