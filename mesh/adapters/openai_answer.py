"""What a server like OpenAI's says: the events of an answer put together, its models, an error's message.

Owns the form of all that in JSON. Must not know how it comes.

- Whether an answer is complete only its `finish_reason` or `[DONE]` says. A connection that ends, even in
  good order, says nothing: proxies and TLS without a proper end look the same.
- Errors come as a body with any status, or as an event in mid-stream, in a form of each server's own.

Source: https://platform.openai.com/docs/api-reference/chat/streaming.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mesh.adapters.openai_faults import ASK_AGAIN, Faults
from mesh.adapters.server_sent_events import Event
from mesh.upstream import (
    UpstreamEnd,
    UpstreamFinish,
    UpstreamPiece,
    UpstreamReasoning,
    UpstreamText,
    UpstreamUsage,
)

_MAX_DEPTH = 6  # at which a message is looked for in an error's JSON
_MOST_TOKENS = 2**31 - 1  # that a server is believed to have counted

_FINISHES = {
    "stop": UpstreamFinish.STOP,
    "eos": UpstreamFinish.STOP,
    "eos_token": UpstreamFinish.STOP,
    "stop_sequence": UpstreamFinish.STOP,
    "end_turn": UpstreamFinish.STOP,
    "length": UpstreamFinish.LENGTH,
    "max_tokens": UpstreamFinish.LENGTH,
    "content_filter": UpstreamFinish.FILTERED,
}

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)  # what msgspec raises for bad JSON or UTF-8


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    """As DeepSeek, Qwen and llama-server call it."""
    reasoning: str | None = None
    """As Ollama and newer vLLM call it."""


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None
    kind: object = msgspec.field(name="object", default=None)


class _Model(msgspec.Struct, frozen=True):
    id: str


class _ModelList(msgspec.Struct, frozen=True):
    data: list[_Model]


class Answer:
    """Puts events together to an answer; knows whether it is complete."""

    def __init__(self, faults: Faults) -> None:
        self.is_done = False
        """Nothing more is to come."""
        self._faults = faults
        self._has_pieces = False
        self._reason: UpstreamFinish | None = None
        self._usage: UpstreamUsage | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the server said so."""
        return self.is_done or self._reason is not None

    def take(self, event: Event) -> list[UpstreamPiece]:
        """Return what an event adds; raise UpstreamBroken for an error, or what cannot be read."""
        if event.data.strip() == b"[DONE]":
            self.is_done = True
            return []
        try:
            chunk = msgspec.json.decode(event.data, type=_Chunk)
        except _UNREADABLE as error:
            raise self._faults.broken("sent an event that cannot be read") from error
        if event.name == b"error" or chunk.error or chunk.kind == "error":
            raise self._faults.broken("reported an error instead of an answer's end", message_in(event.data))
        self._usage = _usage(chunk.usage) or self._usage
        ours = [choice for choice in chunk.choices or () if choice.index == 0]
        pieces = [piece for choice in ours for piece in self._of(choice)]
        self._has_pieces = self._has_pieces or bool(pieces)
        return pieces

    def _of(self, choice: _Choice) -> Iterator[UpstreamPiece]:
        if choice.finish_reason:
            self._reason = _FINISHES.get(choice.finish_reason.lower())
            if self._reason is None:
                raise self._faults.broken("ended its answer for another reason", choice.finish_reason)
        delta = choice.delta or _Delta()
        if thought := delta.reasoning_content or delta.reasoning:
            yield UpstreamReasoning(thought)
        if delta.content:
            yield UpstreamText(delta.content)

    def end(self) -> UpstreamEnd:
        """Return the end; raise UpstreamBroken where the server has not told of it, or told nothing else."""
        if not self.is_complete:
            raise self._faults.broken("ended the connection before the answer was complete")
        if self._reason is None and not self._has_pieces:
            raise self._faults.broken(f"said nothing, and gave no reason for it {ASK_AGAIN}")
        return UpstreamEnd(self._reason or UpstreamFinish.STOP, self._usage)


def models_in(content: bytes, faults: Faults) -> tuple[str, ...]:
    """Read a list of models; raise UpstreamBroken where it is none."""
    try:
        return tuple(model.id for model in msgspec.json.decode(content, type=_ModelList).data)
    except _UNREADABLE as error:
        raise faults.broken("answered with no list of models") from error


def message_in(content: bytes) -> str:
    """Find what an error says: in OpenAI's form, FastAPI's, Google's list of one; else it is the body."""
    try:
        said = msgspec.json.decode(content)
    except _UNREADABLE:
        return content.decode("utf-8", "replace")
    for _ in range(_MAX_DEPTH):
        match said:
            case str():
                return said
            case [inner, *_] | {"error": inner} | {"message": inner} | {"detail": inner} | {"msg": inner}:
                said = inner
    return content.decode("utf-8", "replace")


def _usage(told: _Usage | None) -> UpstreamUsage | None:
    if told is None or told.prompt_tokens is None or told.completion_tokens is None:
        return None
    counted = (told.prompt_tokens, told.completion_tokens)
    return UpstreamUsage(*counted) if all(0 <= count <= _MOST_TOKENS for count in counted) else None
