"""What a model thinks comes apart from its answer, also over losses, and requests are settled once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from mesh.card import ModelCard
from mesh.client import Answer
from mesh.errors import UpstreamBroken
from mesh.messages import Routed
from mesh.types import ChatMessage, FinishReason, Sampling, SamplingAdvice, Settled, Summary, Thinking
from mesh.upstream import UpstreamCard, UpstreamModel, UpstreamQuestion
from simulator.library import TINY, ByteCodec, BytePieces, MemoryLibrary
from simulator.loop import run
from simulator.token_function import reference_tokens
from simulator.upstream import SimulatedUpstream, UpstreamPace
from tests.roles.test_failover import LONG, OWN_KB, SPARE_KB
from tests.roles.world import KB, ROOMY, Home, a_home

ADVICE = SamplingAdvice(temperature=0.6, top_p=0.95)
PLAIN = ModelCard("tiny", "Tiny", 1, 2048, "MIT", "https://example.org", ())
CARD = replace(PLAIN, sampling=ADVICE, empty_system=True, thinks=True)

SCRIPT = ("<th", "ink>\n", "so", " a <", "/b ", "\n</thi", "nk", ">\n\n", "To", "kyo", " <think>")
"""What the first tokens of an answer say, whichever they are; those behind them are words as always."""
REASONING, BEGIN = "so a </b", "Tokyo <think>"


class ScriptedPieces(BytePieces):
    """Says what the script has first."""

    def __init__(self, script: Sequence[str]) -> None:
        super().__init__()
        self._script = iter(script)

    def push(self, token: int) -> str:
        return next(self._script, None) or super().push(token)


@dataclass(frozen=True)
class ThinkingCodec(ByteCodec):
    """A model that begins its answers with a script."""

    script: Sequence[str] = SCRIPT
    thinks: bool = True
    is_begun: bool = False
    advice: SamplingAdvice | None = None

    def pieces(self) -> BytePieces:
        return ScriptedPieces(self.script)

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        return self.is_begun


class ThinkingLibrary(MemoryLibrary):
    """The tiny model with another text, and maybe a card."""

    def __init__(self, codec: ByteCodec, *cards: ModelCard) -> None:
        super().__init__((TINY,), cards)
        self._codec = codec

    async def codec(self, model: str) -> ByteCodec:
        await self.spec(model)
        return self._codec


@dataclass
class Heard:
    """What one client heard."""

    reasoning: str = ""
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    routes: list[Routed] = field(default_factory=list)
    summary: Summary | None = None

    @property
    def lost(self) -> tuple[str, ...]:
        assert self.summary is not None
        return tuple(name for recovery in self.summary.recoveries for name in recovery.lost)

    @property
    def words(self) -> tuple[str, str]:
        return self.reasoning, self.text


async def listen(answer: Answer, happens: Mapping[int, Callable[[], object]] | None = None) -> Heard:
    """Take an answer, and have things happen once so many tokens have come."""
    heard, left = Heard(), dict(happens or {})
    async for event in answer.events():
        if isinstance(event, Routed):
            heard.routes.append(event)
            continue
        assert not (event.reasoning and heard.text), "the reasoning comes first"
        heard.reasoning += event.reasoning
        heard.text += event.text
        heard.tokens += event.tokens
        for num_tokens in [due for due in left if len(heard.tokens) >= due]:
            left.pop(num_tokens)()
    assert answer.reasoning == heard.reasoning
    heard.summary = answer.summary
    return heard


@asynccontextmanager
async def a_thinking_home(*libraries: MemoryLibrary, spare_kb: int = SPARE_KB) -> AsyncIterator[Home]:
    """A phone, a car and a tv, any two of which can hold the model; the last library is of all the others."""
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for at, name in enumerate(("phone", "car", "tv")):
            library = libraries[min(at, len(libraries) - 1)]
            memory, spare = (OWN_KB + spare_kb) * KB, spare_kb * KB
            await home.start(name, memory, library=library, spare_bytes=spare)
        await home.settle()
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()


def ask(home: Home, **options: object) -> Answer:
    settings = {"max_tokens": 40, "seed": 8, **options}
    return home.client("phone").chat(LONG, **settings)  # type: ignore[arg-type]


def expected(sampling: Sampling, *messages: ChatMessage) -> list[int]:
    """The tokens of the undivided model."""
    prompt = ByteCodec().encode_chat(messages or (ChatMessage("user", LONG),))
    return list(reference_tokens(TINY, prompt, sampling, 40, ByteCodec().stop_ids)[0])


def alone(codec: ByteCodec, *cards: ModelCard, **options: object) -> Heard:
    """What a client hears of one device that has it all."""

    async def main() -> Heard:
        async with a_home() as home:
            await home.start("phone", ROOMY, library=ThinkingLibrary(codec, *cards))
            await home.settle()
            return await listen(ask(home, **options))

    return run(main())


def test_reasoning_comes_apart_and_counts_as_tokens() -> None:
    heard = alone(ThinkingCodec())
    assert heard.reasoning == REASONING
    assert heard.text.startswith(BEGIN)
    assert heard.tokens == expected(Sampling(seed=8))
    assert heard.summary is not None
    assert list(heard.summary.tokens) == heard.tokens


def test_an_answer_that_ends_while_it_is_thought_is_empty() -> None:
    heard = alone(ThinkingCodec(), max_tokens=7)
    assert heard.words == (f"{REASONING} \n</think", "")
    assert heard.summary is not None
    assert heard.summary.reason is FinishReason.LENGTH
    assert len(heard.tokens) <= 7


def test_a_prompt_that_ends_within_the_thinking_needs_no_tag_in_the_answer() -> None:
    heard = alone(ThinkingCodec(("\nso", " on\n</think>\n\nTo", "kyo"), is_begun=True))
    assert heard.reasoning == "so on"
    assert heard.text.startswith("Tokyo")


@pytest.mark.parametrize("card", [(), (PLAIN,)])
def test_what_an_ordinary_model_says_stays_as_it_is(card: tuple[ModelCard, ...]) -> None:
    heard = alone(ThinkingCodec(thinks=False, is_begun=True), *card)
    assert heard.reasoning == ""
    assert heard.text.startswith("".join(SCRIPT))
    assert heard.routes[0].settled is None


def test_a_card_may_say_that_a_model_thinks_of_which_its_files_do_not() -> None:
    assert alone(ThinkingCodec(thinks=False), replace(PLAIN, thinks=True)).reasoning == REASONING


@pytest.mark.parametrize("cut", range(1, 15))
def test_a_gateway_lost_in_mid_thought_changes_neither_part(cut: int) -> None:
    async def main() -> None:
        async with a_thinking_home(ThinkingLibrary(ThinkingCodec())) as home:
            whole = await listen(ask(home))
            heard = await listen(ask(home), {cut: partial(home.power_cut, "phone")})
            assert len(heard.routes) == 2
            assert heard.words == whole.words
            assert heard.tokens == whole.tokens
            assert heard.reasoning == REASONING

    run(main())


@pytest.mark.parametrize("first", [1, 5, 12])
def test_two_gateways_lost_one_after_the_other_go_on_as_the_first_had_settled(first: int) -> None:
    async def main() -> None:
        known = ThinkingLibrary(ThinkingCodec(thinks=False, is_begun=False), CARD)
        others = ThinkingLibrary(ThinkingCodec(thinks=False, advice=SamplingAdvice(temperature=1.5)))
        async with a_thinking_home(known, others, spare_kb=3000) as home:
            client = home.client("phone")
            answer = client.chat(LONG, max_tokens=40, seed=8)

            def cut() -> None:
                home.power_cut(client.gateway.name)

            heard = await listen(answer, {first: cut, first + 8: cut})
            assert client.gateway.name not in heard.lost
            assert "phone" in heard.lost
            assert len(heard.lost) == 2
            sampling = Sampling(temperature=0.6, top_p=0.95, seed=8)
            system = ChatMessage("system", "")
            assert heard.routes[0].settled == Settled(sampling, True, Thinking.MAY_BEGIN)
            assert heard.tokens == expected(sampling, system, ChatMessage("user", LONG))
            assert heard.reasoning == REASONING
            assert heard.summary is not None
            assert heard.summary.sampling == sampling

    run(main())


@pytest.mark.parametrize(
    ("advice", "card", "options", "sampling"),
    [
        (None, None, {}, Sampling(seed=8)),
        (None, CARD, {}, Sampling(temperature=0.6, top_p=0.95, seed=8)),
        (ADVICE, None, {}, Sampling(temperature=0.6, top_p=0.95, seed=8)),
        (ADVICE, PLAIN, {}, Sampling(temperature=0.6, top_p=0.95, seed=8)),
        (SamplingAdvice(temperature=1.5), CARD, {}, Sampling(temperature=0.6, top_p=0.95, seed=8)),
        (None, CARD, {"temperature": 0.0}, Sampling(top_p=0.95, seed=8)),
        (None, CARD, {"temperature": 0.9, "top_p": 1.0}, Sampling(temperature=0.9, seed=8)),
    ],
)
def test_tokens_are_drawn_as_recommended_where_the_client_says_nothing(
    advice: SamplingAdvice | None, card: ModelCard | None, options: dict[str, float], sampling: Sampling
) -> None:
    heard = alone(ThinkingCodec(advice=advice), *([card] if card else []), **options)
    assert heard.summary is not None
    assert heard.summary.sampling == sampling
    system = (ChatMessage("system", ""),) if card is CARD else ()
    assert heard.tokens == expected(sampling, *system, ChatMessage("user", LONG))


def test_an_explanation_counts_the_empty_system_message() -> None:
    async def main() -> tuple[int, int]:
        async with a_home() as home:
            await home.start("phone", ROOMY, library=ThinkingLibrary(ThinkingCodec(), CARD))
            await home.settle()
            explained = await home.client("phone").explain(LONG)
            answer = ask(home)
            await answer.text()
            return explained.decision.num_prompt, answer.summary.num_prompt_tokens

    counted, counted_then = run(main())
    prompt = ByteCodec().encode_chat((ChatMessage("system", ""), ChatMessage("user", LONG)))
    assert counted == counted_then == len(prompt)


def a_server(*replies: str, thoughts: Sequence[str] = ()) -> SimulatedUpstream:
    card = UpstreamCard("studio", (UpstreamModel("far", "far-there"),))
    server = SimulatedUpstream(card, UpstreamPace(0.01, 0.01), lambda question: replies)
    server.thoughts = thoughts
    return server


@asynccontextmanager
async def a_phone(server: SimulatedUpstream, *cards: ModelCard) -> AsyncIterator[Home]:
    async with a_home() as home:
        library = MemoryLibrary((TINY,), cards)
        await home.start("phone", ROOMY, library=library, upstreams=(server,))
        await home.settle()
        yield home


def ask_far(home: Home) -> Answer:
    return ask(home, model="far", privacy="cloud")


def test_the_thoughts_of_a_server_go_the_same_way() -> None:
    async def main() -> None:
        async with a_phone(a_server("To", "kyo", thoughts=("so ", "on"))) as home:
            heard = await listen(ask_far(home))
            assert heard.words == ("so on", "Tokyo")
            assert heard.summary is not None
            assert heard.summary.ttft_s == pytest.approx(0.01, abs=0.005)

    run(main())


def test_a_server_that_thinks_and_never_answers_is_cut_off() -> None:
    async def main() -> None:
        server = a_server(thoughts=["hm "] * 900)
        asked: list[UpstreamQuestion] = []
        chat = server.chat

        def endless(question: UpstreamQuestion) -> object:
            asked.append(question)
            return chat(replace(question, max_tokens=10_000))

        async with a_phone(server) as home:
            server.chat = endless  # type: ignore[method-assign, assignment]
            heard = await listen(ask_far(home))
            assert heard.words == ("hm " * (40 + 16), "")
            assert heard.summary is not None
            assert heard.summary.reason is FinishReason.LENGTH
            assert asked[0].max_tokens == 40

    run(main())


def test_a_server_that_breaks_off_while_it_thinks_is_an_honest_error() -> None:
    async def main() -> None:
        server = a_server("Tokyo", thoughts=("so ", "on"))
        server.dies_after = 1
        async with a_phone(server) as home:
            answer = ask_far(home)
            with pytest.raises(UpstreamBroken):
                await answer.text()
            assert answer.reasoning == "so "

    run(main())


@pytest.mark.parametrize("thinks", [True, False])
def test_tags_in_a_server_s_text_are_read_where_the_model_s_card_says_that_it_thinks(thinks: bool) -> None:
    async def main() -> None:
        pieces = ("<think>so", " on</th", "ink> Tokyo")
        card = replace(CARD, name="far", thinks=thinks)
        async with a_phone(a_server(*pieces), card) as home:
            heard = await listen(ask_far(home))
            assert heard.words == (("so on", "Tokyo") if thinks else ("", "".join(pieces)))

    run(main())


def test_a_server_is_asked_with_what_the_card_recommends_and_the_messages_as_they_are() -> None:
    async def main() -> None:
        asked: list[UpstreamQuestion] = []
        server = a_server("Tokyo")
        server._reply = lambda question: asked.append(question) or ["Tokyo"]  # type: ignore[func-returns-value]
        async with a_phone(server, replace(CARD, name="far")) as home:
            heard = await listen(ask_far(home))
            sampling = Sampling(temperature=0.6, top_p=0.95, seed=8)
            assert [question.sampling for question in asked] == [sampling]
            assert asked[0].messages == (ChatMessage("user", LONG),)
            assert heard.summary is not None
            assert heard.summary.sampling == sampling

    run(main())
