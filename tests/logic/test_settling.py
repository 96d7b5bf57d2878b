"""What a request leaves open: the client's word counts, then the card's, then that of the model's files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.card import ModelCard
from mesh.errors import BadSetting
from mesh.logic.settling import as_it_stands, prompted, said, settled
from mesh.messages import ChatRequest, Started
from mesh.types import (
    ChatMessage,
    Plan,
    Precision,
    Sampling,
    SamplingAdvice,
    SamplingField,
    SessionId,
    Settled,
    Thinking,
)
from simulator.library import TINY

ASKED = ChatMessage("user", "?")
EMPTY = ChatMessage("system", "")
OPEN = ChatRequest(1, None, (ASKED,), 40, Sampling(seed=3), None, left_open=tuple(SamplingField))
PLAIN = ModelCard("tiny", "Tiny", 1, 2048, "MIT", "https://example.org", ())
MIMO = replace(PLAIN, sampling=SamplingAdvice(temperature=0.6, top_p=0.95), empty_system=True, thinks=True)
FOLDER = SamplingAdvice(temperature=0.7, top_k=20, top_p=0.8)


@pytest.mark.parametrize(
    ("left_open", "card", "folder", "sampling"),
    [
        (tuple(SamplingField), None, None, Sampling(seed=3)),
        (tuple(SamplingField), PLAIN, None, Sampling(seed=3)),
        (tuple(SamplingField), MIMO, None, Sampling(0.6, None, 0.95, seed=3)),
        (tuple(SamplingField), MIMO, FOLDER, Sampling(0.6, None, 0.95, seed=3)),
        (tuple(SamplingField), PLAIN, FOLDER, Sampling(0.7, 20, 0.8, seed=3)),
        (tuple(SamplingField), None, FOLDER, Sampling(0.7, 20, 0.8, seed=3)),
        ((SamplingField.TOP_P,), MIMO, None, Sampling(0.0, None, 0.95, seed=3)),
        ((SamplingField.TEMPERATURE,), MIMO, None, Sampling(0.6, seed=3)),
        ((), MIMO, FOLDER, Sampling(seed=3)),
    ],
)
def test_who_says_how_tokens_are_drawn(
    left_open: tuple[SamplingField, ...],
    card: ModelCard | None,
    folder: SamplingAdvice | None,
    sampling: Sampling,
) -> None:
    assert settled(replace(OPEN, left_open=left_open), card, folder).sampling == sampling


@pytest.mark.parametrize("advice", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": 0}, {"min_p": 2.0}])
def test_advice_that_no_sampling_can_follow_cannot_be_given(advice: dict[str, float]) -> None:
    with pytest.raises(BadSetting, match=next(iter(advice))):
        SamplingAdvice(**advice)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "messages", "rendered"),
    [
        (MIMO, (ASKED,), (EMPTY, ASKED)),
        (MIMO, (EMPTY, ASKED), (EMPTY, ASKED)),
        (MIMO, (ChatMessage("system", "be brief"), ASKED), (ChatMessage("system", "be brief"), ASKED)),
        (MIMO, (), ()),
        (PLAIN, (ASKED,), (ASKED,)),
        (None, (ASKED,), (ASKED,)),
    ],
)
def test_a_conversation_without_system_message_gets_an_empty_one_where_the_card_says_so(
    card: ModelCard | None, messages: tuple[ChatMessage, ...], rendered: tuple[ChatMessage, ...]
) -> None:
    assert prompted(messages, card) == rendered
    known = settled(replace(OPEN, messages=messages), card)
    assert known.has_empty_system == (len(rendered) > len(messages))
    assert said(replace(OPEN, messages=messages), known).messages == rendered


@pytest.mark.parametrize(
    ("card", "thinks", "is_begun", "thinking"),
    [
        (None, False, False, Thinking.NONE),
        (PLAIN, False, True, Thinking.NONE),  # a user's words at the end of a prompt
        (PLAIN, True, False, Thinking.MAY_BEGIN),
        (None, True, True, Thinking.BEGUN),
        (MIMO, False, False, Thinking.MAY_BEGIN),
        (MIMO, False, True, Thinking.BEGUN),
    ],
)
def test_a_model_thinks_where_its_files_or_its_card_say_so(
    card: ModelCard | None, thinks: bool, is_begun: bool, thinking: Thinking
) -> None:
    assert settled(OPEN, card, thinks=thinks, is_begun=is_begun).thinking is thinking


def test_whoever_goes_on_adds_nothing() -> None:
    known = settled(OPEN, MIMO)
    request = said(OPEN, known)
    assert (request.left_open, request.sampling) == ((), known.sampling)
    started = Started(SessionId("5" * 16), 0, Plan(TINY.ref, Precision.INT4, 1024, ()), (1,), known.thinking)
    assert as_it_stands(replace(request, started=started)) == replace(known, has_empty_system=False)
    assert said(OPEN, None) == replace(OPEN, left_open=())
    assert as_it_stands(OPEN) == Settled(Sampling(seed=3))
