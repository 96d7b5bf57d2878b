"""What a request leaves open, settled by what is known of the model.

Owns whose word counts: the client's, then the card's, then that of the model's own files. A request is
settled once, by the gateway that takes it first, and the client hands the result to whoever goes on with the
answer: another gateway may have another card. Must not know where cards and files lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mesh.card import ModelCard
from mesh.messages import ChatRequest
from mesh.types import ChatMessage, SamplingAdvice, Settled, Thinking

_EMPTY_SYSTEM = ChatMessage("system", "")


def prompted(messages: Sequence[ChatMessage], card: ModelCard | None) -> tuple[ChatMessage, ...]:
    """Return a conversation as its model wants it: some want a system message without text, and no default.

    Most templates look for a system message in the first place only, so one elsewhere does not count.
    """
    is_wanted = card is not None and card.empty_system and bool(messages) and messages[0].role != "system"
    return (_EMPTY_SYSTEM, *messages) if is_wanted else tuple(messages)


def settled(
    request: ChatRequest,
    card: ModelCard | None,
    advice: SamplingAdvice | None = None,
    *,
    thinks: bool = False,
    is_begun: bool = False,
) -> Settled:
    """Settle a request for its model.

    `advice`, `thinks`, and whether the prompt has begun it: what the model's own files say.
    """
    taken = (card.sampling if card else None) or advice
    return Settled(
        sampling=taken.filled(request.sampling, request.left_open) if taken else request.sampling,
        has_empty_system=len(prompted(request.messages, card)) > len(request.messages),
        thinking=_thinking(thinks or (card is not None and card.thinks), is_begun),
    )


def as_it_stands(request: ChatRequest) -> Settled:
    """Return what a request says of itself: of one that goes on, all that was settled before."""
    thinking = request.started.thinking if request.started else Thinking.NONE
    return Settled(request.sampling, thinking=thinking)


def said(request: ChatRequest, result: Settled | None) -> ChatRequest:
    """Return the request with nothing left open, so that gateways of any version make the same of it.

    `result`: what was made of it; None where it was taken as it stands.
    """
    known = result or as_it_stands(request)
    before = (_EMPTY_SYSTEM,) if known.has_empty_system else ()
    return replace(request, messages=(*before, *request.messages), sampling=known.sampling, left_open=())


def _thinking(thinks: bool, is_begun: bool) -> Thinking:
    """An ordinary model that begins with `<think>` was asked to write it, so nothing of it is put aside."""
    if not thinks:
        return Thinking.NONE
    return Thinking.BEGUN if is_begun else Thinking.MAY_BEGIN
