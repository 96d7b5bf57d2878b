"""Tokens are guessed ahead, rightly and wrongly, while devices are lost: the answer is always the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mesh.logic import drafting
from mesh.logic.drafting import Guess, Kind
from mesh.logic.speculation import Speculation
from mesh.roles import guessing
from mesh.types import ChatMessage, Digest, Precision, ProtocolVersion, Sampling
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY, ByteCodec, MemoryLibrary
from simulator.loop import run
from simulator.token_function import reference_tokens
from tests.roles.test_failover import (
    LONG,
    OWN_KB,
    SPARE_KB,
    Heard,
    a_roomy_home,
    expected,
    listen,
    reset,
    stop_at_once,
)
from tests.roles.world import KB, Home

NUM_CASES = 60


class Knowing:
    """Knows the answer, and is wrong now and then."""

    name = "knowing"

    def __init__(self, temperature: float, error_rate: float, seed: int) -> None:
        prompt = ByteCodec().encode_chat((ChatMessage("user", LONG),))
        sampling = Sampling(temperature=temperature, seed=8)
        self._answer = (*prompt, *reference_tokens(TINY, prompt, sampling, 60, frozenset())[0])
        self._known = 0
        self._error_rate = error_rate
        self._random = random.Random(seed)

    def came(self, tokens: Sequence[int]) -> None:
        self._known += len(tokens)

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        start = self._known + len(pending)
        right = self._answer[start : start + most]
        tokens = tuple(self._wrong(t) if self._random.random() < self._error_rate else t for t in right)
        return Guess(tokens, (Kind("knowing", 0, 0.5),) * len(tokens))

    def _wrong(self, token: int) -> int:
        return (token + self._random.randrange(1, TINY.vocab_size)) % TINY.vocab_size


def guess_with(
    monkeypatch: pytest.MonkeyPatch, drafter: Callable[[], drafting.Drafter], depth: int, num_ahead: int = 0
) -> None:
    """Have every gateway guess so many tokens each time, and so many frames of them ahead."""
    monkeypatch.setattr(guessing, "PromptLookup", drafter)
    monkeypatch.setattr(guessing, "Speculation", lambda drafters, *_: Speculation(drafters, depth, num_ahead))


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_right_guesses_save_traversals_and_change_no_token(
    monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    guess_with(monkeypatch, lambda: Knowing(temperature, 0.0, 1), depth=3)

    async def main() -> Heard:
        async with a_roomy_home() as home:
            return await listen(home, {}, temperature=temperature)

    heard = run(main())
    assert heard.tokens == expected(temperature=temperature)
    assert heard.summary is not None
    guesses = heard.summary.guesses
    assert guesses is not None
    assert guesses.num_right == guesses.num_drafted >= 28
    assert guesses.num_traversals == 40 - guesses.num_right <= 12


def happenings(home: Home, chance: random.Random) -> dict[int, Callable[[], object]]:
    """Things that go wrong when so many tokens have come: devices are lost, or all links break."""

    def cut() -> None:
        home.power_cut("tv")

    def stop() -> None:
        stop_at_once(home, "car")

    def broken() -> None:
        reset(home)

    acts = chance.choice([(), (cut,), (stop,), (cut, stop), (broken,), (broken, broken), (cut, broken)])
    return {chance.randint(1, 38): act for act in acts}


@pytest.mark.parametrize("case", range(NUM_CASES))
def test_guesses_and_losses_together_change_no_token(monkeypatch: pytest.MonkeyPatch, case: int) -> None:
    chance = random.Random(case)
    temperature = chance.choice([0.0, 0.8])
    error_rate = chance.choice([0.0, 0.2, 0.5, 1.0])
    seed = chance.random()
    depth, num_ahead = chance.randint(0, 7), chance.randint(0, 5)
    knowing = int(seed * 1000)
    guess_with(monkeypatch, lambda: Knowing(temperature, error_rate, knowing), depth, num_ahead)

    async def main() -> None:
        async with a_roomy_home(
            *("phone", "car", "tv", "pc")[: chance.choice([3, 4])], spare_kb=3000
        ) as home:
            heard = await listen(home, happenings(home, chance), temperature=temperature)
            assert heard.tokens == expected(temperature=temperature)

    run(main())


def test_a_stage_of_an_older_version_is_sent_no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    guess_with(monkeypatch, lambda: Knowing(0.0, 0.0, 1), depth=3)

    async def main() -> None:
        async with a_roomy_home("phone", "car") as home:
            await home.start("tv", 770_000 + 900_000, spare_bytes=900_000, version=ProtocolVersion(1, 0))
            await home.settle()
            heard = await listen(home, {})
            assert heard.tokens == expected()
            assert heard.summary is not None
            assert "tv" in [share.name for share in heard.summary.stages]
            assert heard.summary.guesses is not None
            assert heard.summary.guesses.num_drafted == 0

    run(main())


def test_what_a_follow_up_begins_with_is_not_what_was_guessed_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    guess_with(monkeypatch, lambda: Knowing(0.0, 0.5, 3), depth=4)

    async def main() -> None:
        async with a_roomy_home() as home:
            client = home.client("phone")
            for num_tokens in range(1, 30):
                first = client.chat(LONG, max_tokens=num_tokens, seed=8)
                text = await first.text()
                turns = [
                    ChatMessage("user", LONG),
                    ChatMessage("assistant", text),
                    ChatMessage("user", "go on"),
                ]
                again = client.chat(turns, max_tokens=5, seed=8, drafting="none")
                await again.text()
                prompt = ByteCodec().encode_chat(tuple(turns))
                tokens, _ = reference_tokens(TINY, prompt, Sampling(seed=8), 5, ByteCodec().stop_ids)
                assert again.summary.tokens == tokens

    run(main())


MTP = replace(TINY, name="tiny-mtp", digest=Digest("6" * 64), has_mtp=True)
"""A model whose last stage guesses; in the simulator four guesses in five are right."""


@asynccontextmanager
async def a_guessing_home(*names: str) -> AsyncIterator[Home]:
    """Devices that share that model, with room to stand in for each other."""
    kb = OWN_KB + SPARE_KB + 3 * MTP.layer_bytes(Precision.INT4) // KB
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for name in names:
            await home.start(
                name,
                kb * KB,
                spare_bytes=SPARE_KB * KB,
                library=MemoryLibrary((MTP,)),
                compute=TokenFunctionCompute(MTP),
            )
        await home.settle()
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()


def answered(temperature: float) -> list[int]:
    """The tokens of the undivided model."""
    prompt = ByteCodec().encode_chat((ChatMessage("user", LONG),))
    sampling = Sampling(temperature=temperature, seed=8)
    return list(reference_tokens(MTP, prompt, sampling, 60, ByteCodec().stop_ids)[0])


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_last_stage_guesses_and_what_it_guessed_comes_back_with_the_token(temperature: float) -> None:
    async def main() -> Heard:
        async with a_guessing_home("phone", "car", "tv") as home:
            return await listen(home, {}, temperature=temperature, max_tokens=60, drafting="mtp")

    heard = run(main())
    assert heard.tokens == answered(temperature)
    assert heard.summary is not None
    assert len(heard.summary.stages) > 1
    guesses = heard.summary.guesses
    assert guesses is not None
    (drafted,) = guesses.drafted
    assert drafted.drafter == "mtp"
    assert drafted.num_right / drafted.num_drafted > 0.5
    assert guesses.accept_length > 1.7


@pytest.mark.parametrize("case", range(20))
def test_a_stage_that_takes_the_place_of_the_last_guesses_on(case: int) -> None:
    chance = random.Random(case)
    temperature, drafting = chance.choice([0.0, 0.8]), chance.choice(["mtp", "auto"])

    async def main() -> Heard:
        async with a_guessing_home("phone", "car", "tv", "pc") as home:
            happens = happenings(home, chance)
            return await listen(home, happens, temperature=temperature, max_tokens=60, drafting=drafting)

    heard = run(main())
    assert heard.tokens == answered(temperature)
    assert heard.summary is not None
    assert heard.summary.guesses is not None
    assert heard.summary.guesses.num_right > 10


def test_without_such_a_layer_nobody_guesses_by_it() -> None:
    async def main() -> Heard:
        async with a_roomy_home() as home:
            return await listen(home, {}, drafting="mtp")

    heard = run(main())
    assert heard.tokens == expected()
    assert heard.summary is not None
    assert heard.summary.guesses is None
    assert heard.decision is not None
    assert "tiny guesses no tokens by itself: it has no layer for that" in heard.decision.notes


@pytest.mark.parametrize("num_tokens", [1, 3, 5, 8, 20])
@pytest.mark.parametrize("num_ahead", [0, 2])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_stage_that_lives_computes_no_right_guess_again(
    monkeypatch: pytest.MonkeyPatch, place: int, num_ahead: int, num_tokens: int
) -> None:
    guess_with(monkeypatch, lambda: Knowing(0.0, 0.0, 1), depth=3, num_ahead=num_ahead)

    async def main() -> None:
        async with a_roomy_home() as home:
            await home.start("watch", 10 * KB)
            await asyncio.sleep(3)
            route = [stage.node.name for stage in (await home.client("watch").plan()).stages]
            assert len(route) == 3
            heard = await listen(home, {num_tokens: lambda: stop_at_once(home, route[place])}, at="watch")
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            assert (recovery.lost, recovery.recomputed_layers) == ((route[place],), 0)

    run(main())
