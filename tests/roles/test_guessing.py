"""Tokens are guessed ahead, rightly and wrongly, while devices are lost: the answer is always the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from mesh.logic import drafting
from mesh.logic.drafting import Guess
from mesh.logic.speculation import Speculation
from mesh.roles import chatting
from mesh.types import ChatMessage, ProtocolVersion, Sampling
from simulator.library import TINY, ByteCodec
from simulator.loop import run
from simulator.token_function import reference_tokens
from tests.roles.test_failover import LONG, Heard, a_roomy_home, expected, listen, reset, stop_at_once
from tests.roles.world import Home

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

    def guess(self, most: int) -> Guess:
        right = self._answer[self._known : self._known + most]
        return Guess(tuple(self._wrong(t) if self._random.random() < self._error_rate else t for t in right))

    def _wrong(self, token: int) -> int:
        return (token + self._random.randrange(1, TINY.vocab_size)) % TINY.vocab_size


def guess_with(monkeypatch: pytest.MonkeyPatch, drafter: Callable[[], drafting.Drafter], depth: int) -> None:
    """Have every gateway guess so many tokens each time."""
    monkeypatch.setattr(chatting, "PromptLookup", drafter)
    monkeypatch.setattr(chatting, "Speculation", lambda drafter, _: Speculation(drafter, depth))


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
    guess_with(monkeypatch, lambda: Knowing(temperature, error_rate, int(seed * 1000)), chance.randint(1, 7))

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
