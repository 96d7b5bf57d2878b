"""A small model guesses for a large one at the gateway; whatever becomes of it, the answer goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from mesh.client import Answer
from mesh.errors import InternalError, ModelCorrupt
from mesh.logic.speculation import Speculation
from mesh.messages import Routed
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.roles import guessing
from mesh.types import CacheKey, Digest, Hidden, Recovery, Sampling, StageKey, Summary, TokenIds
from simulator.compute import ModelledCompute
from simulator.devices.processor import FixedSpeed
from simulator.library import TINY, ByteCodec, MemoryLibrary
from simulator.loop import run
from simulator.token_function import TokenFunction
from tests.roles.test_failover import LONG, OWN_KB, SPARE_KB, expected, reset
from tests.roles.world import KB, ROOMY, Home

SMALL = replace(TINY, name="small", digest=Digest("5" * 64), num_layers=2)
"""It has seen the large one's answers: two layers suffice it to say the same."""


class Knowing:
    """Maths in which the small model, whole, computes what the large one does, and guesses by going on."""

    def __init__(self) -> None:
        self._inner = TokenFunction((TINY,))

    def load(self, key: StageKey) -> int:
        return self._inner.load(_meant(key))

    def unload(self, key: StageKey) -> None:
        if not _is_small(key):
            self._inner.unload(key)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        return self._inner.open(replace(cache, stage=_meant(cache.stage)), context, sampling, prefix)

    def close(self, cache: CacheKey) -> None:
        self._inner.close(replace(cache, stage=_meant(cache.stage)))

    def run(self, step: Step) -> Hidden | Sampled | None:
        meant = replace(step, cache=replace(step.cache, stage=_meant(step.cache.stage)))
        drawn = self._inner.run(meant)
        if not (_is_small(step.cache.stage) and isinstance(drawn, Sampled)):
            return drawn
        text = [drawn.token]
        for position in range(drawn.position, drawn.position + step.num_wanted):
            further = self._inner.run(Step(meant.cache, position, TokenIds((text[-1],)), sample=True))
            assert isinstance(further, Sampled)
            text.append(further.token)
        return replace(drawn, guessed=tuple(text[1:]))


def _is_small(key: StageKey) -> bool:
    return key.digest == SMALL.digest


def _meant(key: StageKey) -> StageKey:
    return StageKey(TINY.digest, TINY.whole, key.precision) if _is_small(key) else key


class Failing(ModelledCompute):
    """Computes with both models; the small one may take long, or fail."""

    def __init__(self) -> None:
        super().__init__((TINY, SMALL), FixedSpeed(0.01), Knowing())
        self.load_s = 0.0
        self.step_s = 0.0
        self.load_error: Exception | None = None
        self.step_error: InternalError | None = None
        self.num_guessed = 0
        """Batches that the small model has run."""

    @property
    def num_small(self) -> int:
        """Caches of the small model that are held here."""
        return sum(_is_small(cache.stage) for cache in self._caches)

    async def load(self, key: StageKey) -> int:
        if _is_small(key):
            await asyncio.sleep(self.load_s)
            if self.load_error is not None:
                raise self.load_error
        return await super().load(key)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        if not any(_is_small(step.cache.stage) for step in steps):
            return await super().run(steps)
        self.num_guessed += 1
        await asyncio.sleep(self.step_s)
        if self.step_error is not None:
            return [self.step_error for _ in steps]
        return await super().run(steps)


class Abroad(ByteCodec):
    """Has other tokens."""

    @property
    def vocabulary(self) -> str:
        return "words"


class ForeignLibrary(MemoryLibrary):
    """Its small model has another vocabulary."""

    async def codec(self, model: str) -> ByteCodec:
        return Abroad() if model == SMALL.name else await super().codec(model)


BOTH = MemoryLibrary((TINY, SMALL))


@dataclass(slots=True)
class Guessers:
    """A home whose gateways have a small model guess."""

    home: Home
    computes: dict[str, Failing] = field(default_factory=dict)

    async def start(self, name: str, own_kb: int, spare_kb: int, library: MemoryLibrary) -> Failing:
        """Start a device with so much for plans, and so much to spare."""
        compute = self.computes[name] = Failing()
        memory, spare = (own_kb + spare_kb) * KB, spare_kb * KB
        await self.home.start(
            name, memory, spare_bytes=spare, library=library, compute=compute, draft_model=SMALL.name
        )
        return compute

    @property
    def phone(self) -> Failing:
        return self.computes["phone"]

    @property
    def num_small(self) -> int:
        """Caches of the small model, wherever they are."""
        return sum(compute.num_small for compute in self.computes.values())


@asynccontextmanager
async def guessers(
    own_kb: int = OWN_KB, spare_kb: int = SPARE_KB, library: MemoryLibrary = BOTH
) -> AsyncIterator[Guessers]:
    """A phone, a car and a tv, that hold the large model together, and each the small one beside."""
    async with asyncio.TaskGroup() as tasks:
        made = Guessers(Home(tasks))
        for name in ("phone", "car", "tv"):
            await made.start(name, own_kb, spare_kb, library)
        await made.home.settle()
        try:
            yield made
        finally:
            for node in made.home.started:
                node.node.stop()
                node.node.stop()


@dataclass(slots=True)
class Heard:
    """What one client heard."""

    answer: Answer
    tokens: list[int] = field(default_factory=list)
    took_s: float = 0.0
    first_s: float = 0.0

    @property
    def summary(self) -> Summary:
        return self.answer.summary

    @property
    def guessed(self) -> tuple[int, int]:
        """Tokens that the small model guessed and that were sent, and those of them that were right."""
        assert self.summary.guesses is not None
        (drafted,) = (one for one in self.summary.guesses.drafted if one.drafter == "model")
        return drafted.num_drafted, drafted.num_right

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        return self.summary.recoveries

    @property
    def notes(self) -> tuple[str, ...]:
        assert self.answer.decision is not None
        return self.answer.decision.notes


Happenings = Mapping[int, Callable[[], object]]


async def listen(
    made: Guessers, happens: Happenings | None = None, at: str = "phone", **options: object
) -> Heard:
    """Ask a device, and have things happen when so many tokens have come."""
    settings = {"model": TINY.name, "max_tokens": 40, "seed": 8, "drafting": "model", **options}
    heard = Heard(made.home.client(at).chat(LONG, **settings))  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async for event in heard.answer.events():
        if isinstance(event, Routed):
            continue
        heard.first_s = heard.first_s or loop.time() - began_s
        for token in event.tokens:
            heard.tokens.append(token)
            if happens and (act := happens.get(len(heard.tokens))):
                act()
    heard.took_s = loop.time() - began_s
    return heard


async def nothing_is_left(made: Guessers, *, lost: str = "") -> None:
    """Wait a little, and look at what is still held of sessions."""
    await asyncio.sleep(5)
    left = [name for name in made.computes if name != lost]
    assert sum(made.home.nodes[name].num_open for name in left) == 0
    assert sum(made.computes[name].num_small for name in left) == 0


@pytest.mark.parametrize("drafting", ["model", "auto"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_small_model_that_knows_saves_traversals_and_changes_no_token(
    monkeypatch: pytest.MonkeyPatch, temperature: float, drafting: str
) -> None:
    monkeypatch.setattr(guessing, "Speculation", lambda drafters, *_: Speculation(drafters, depth=3))

    async def main() -> None:
        async with guessers() as made:
            heard = await listen(made, temperature=temperature, drafting=drafting)
            assert heard.tokens == expected(temperature=temperature)
            num_drafted, num_right = heard.guessed
            assert num_right == num_drafted
            assert num_right >= 20
            guesses = heard.summary.guesses
            assert guesses is not None
            assert guesses.num_traversals == 40 - guesses.num_right
            assert len(heard.summary.stages) == 3
            assert heard.notes == ()
            await nothing_is_left(made)

    run(main())


def test_with_it_an_answer_is_sooner_made() -> None:
    async def main() -> None:
        async with guessers() as made:
            plain, guessed = [await listen(made, drafting=how) for how in ("none", "model")]
            assert guessed.took_s < 0.75 * plain.took_s

    run(main())


def test_it_guesses_on_the_device_that_was_asked_and_nowhere_else() -> None:
    async def main() -> None:
        async with guessers(own_kb=ROOMY // KB) as made:
            heard = await listen(made, privacy="device")
            assert heard.tokens == expected()
            assert heard.guessed[1] > 0
            assert [share.name for share in heard.summary.stages] == ["phone"]
            for name in ("car", "tv"):
                assert not made.computes[name].stages
                assert made.computes[name].num_guessed == 0
            await nothing_is_left(made)

    run(main())


@pytest.mark.parametrize(
    ("library", "note"),
    [
        (MemoryLibrary((TINY,)), "small does not guess: unknown model 'small'; see `mesh models`"),
        (ForeignLibrary((TINY, SMALL)), "small does not guess for tiny: it has another vocabulary"),
    ],
    ids=["is not there", "has another vocabulary"],
)
def test_a_model_that_does_not_fit_is_named_and_the_answer_is_made_without(
    library: MemoryLibrary, note: str
) -> None:
    async def main() -> None:
        async with guessers(library=library) as made:
            heard = await listen(made)
            assert heard.tokens == expected()
            assert heard.notes == (note,)
            assert heard.summary.guesses is None
            assert made.phone.num_guessed == 0
            await nothing_is_left(made)

    run(main())


def test_without_room_beside_ones_share_the_answer_is_made_without(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with guessers(spare_kb=0) as made:
            heard = await listen(made)
            assert heard.tokens == expected()
            assert heard.recoveries == ()
            assert heard.guessed == (0, 0)
            await nothing_is_left(made)

    caplog.set_level(logging.WARNING)
    run(main())
    assert "small guesses no more: a cache of 1 MB does not fit beside what runs" in caplog.text


def test_a_model_that_cannot_be_read_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with guessers() as made:
            made.phone.load_error = ModelCorrupt("its file was altered")
            heard = await listen(made)
            assert heard.tokens == expected()
            assert heard.guessed == (0, 0)
            await nothing_is_left(made)

    caplog.set_level(logging.WARNING)
    run(main())
    assert "small guesses no more: phone: its file was altered" in caplog.text


def test_an_answer_does_not_wait_until_the_small_model_is_loaded() -> None:
    async def main() -> None:
        async with guessers() as made:
            made.phone.load_s = 20.0
            heard = await listen(made)
            assert heard.tokens == expected()
            assert heard.took_s < 3
            await asyncio.sleep(20)
            await nothing_is_left(made)

    run(main())


def test_a_model_that_fails_is_asked_no_more() -> None:
    async def main() -> None:
        async with guessers() as made:

            def fail() -> None:
                made.phone.step_error = InternalError("out of order")

            heard = await listen(made, {8: fail})
            assert heard.tokens == expected()
            assert heard.recoveries == ()
            assert 0 < heard.guessed[1] < 30
            await nothing_is_left(made)

    run(main())


@pytest.mark.parametrize("num_tokens", [1, 8, 30])
def test_a_model_that_becomes_slow_costs_a_pause_once(num_tokens: int) -> None:
    async def main() -> None:
        async with guessers() as made:
            num_before: list[int] = []

            def slow() -> None:
                made.phone.step_s = 3.0
                num_before.append(made.phone.num_guessed)

            heard = await listen(made, {num_tokens: slow}, max_tokens=80)
            assert heard.tokens[:40] == expected()
            assert heard.took_s < 7
            has_prompt = num_tokens == 1  # to be computed, before the first guess
            assert made.phone.num_guessed <= num_before[0] + 1 + has_prompt
            await nothing_is_left(made)

    run(main())


def test_a_worker_that_falls_silent_costs_a_second_where_no_layer_is_with_it() -> None:
    async def main() -> None:
        async with guessers() as made:
            compute = await made.start("watch", 0, 400, BOTH)
            await asyncio.sleep(3)

            def silent() -> None:
                compute.step_s = 1000.0

            heard = await listen(made, {8: silent}, at="watch")
            assert heard.tokens == expected()
            assert "watch" not in {share.name for share in heard.summary.stages}
            assert heard.guessed[1] > 0
            assert 1 < heard.took_s < 2.5
            assert heard.recoveries == ()

    run(main())


@pytest.mark.parametrize("num_tokens", [1, 8, 20])
def test_a_gateway_that_takes_over_guesses_with_its_own(num_tokens: int) -> None:
    async def main() -> None:
        async with guessers() as made:
            heard = await listen(made, {num_tokens: lambda: made.home.power_cut("phone")})
            assert heard.tokens == expected()
            assert [recovery.lost for recovery in heard.recoveries] == [("phone",)]
            assert sum(made.computes[name].num_guessed for name in ("car", "tv")) > 0
            if num_tokens < 20:
                assert heard.guessed[1] > 0
            await nothing_is_left(made, lost="phone")

    run(main())


@pytest.mark.parametrize("victim", ["car", "tv"])
def test_a_stage_may_be_lost_meanwhile(victim: str) -> None:
    async def main() -> None:
        async with guessers(spare_kb=1800) as made:
            num_before: list[int] = []

            def cut() -> None:
                num_before.append(made.phone.num_guessed)
                made.home.power_cut(victim)

            heard = await listen(made, {8: cut}, max_tokens=120)
            assert heard.tokens[:40] == expected()
            assert made.phone.num_guessed > num_before[0] + 3  # its prompt anew, and some guesses
            await nothing_is_left(made, lost=victim)

    run(main())


@pytest.mark.parametrize("num_tokens", [1, 8, 30])
def test_where_all_links_break_it_guesses_on(num_tokens: int) -> None:
    async def main() -> None:
        async with guessers() as made:
            num_before = [0]

            def broken() -> None:
                num_before[0] = sum(compute.num_guessed for compute in made.computes.values())
                reset(made.home)

            heard = await listen(made, {num_tokens: broken}, max_tokens=60)
            assert heard.tokens[:40] == expected()
            assert heard.took_s < 3
            assert sum(compute.num_guessed for compute in made.computes.values()) > num_before[0]
            await nothing_is_left(made)

    run(main())


def test_a_slow_model_is_not_asked_again_and_gives_its_room_back_while_the_answer_goes_on() -> None:
    async def main() -> None:
        async with guessers() as made:
            seen: list[int] = []

            def slow() -> None:
                made.phone.step_s = 1.1

            def look() -> None:
                seen.extend((made.phone.num_small, made.phone.num_guessed))

            heard = await listen(made, {8: slow, 50: look, 100: look}, max_tokens=110)
            assert heard.tokens[:40] == expected()
            assert seen[0] == seen[2] == 0
            assert seen[1] == seen[3]

    run(main())


def test_it_makes_room_where_a_loss_leaves_none_beside_it() -> None:
    """Two devices can hold the large model with what they have to spare, but not the small one too."""

    async def main() -> None:
        async with guessers(spare_kb=300) as made:
            plain = await listen(made, drafting="none", max_tokens=2)
            assert plain.tokens == expected()[:2]
            heard = await listen(made, {8: lambda: made.home.power_cut("tv")})
            assert heard.tokens == expected()
            assert heard.guessed[1] > 0
            (recovery,) = heard.recoveries
            assert recovery.stall_s < 2
            await nothing_is_left(made, lost="tv")

    run(main())
