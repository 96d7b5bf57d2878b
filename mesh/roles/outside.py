"""The servers outside the mesh that one node may ask, and what is known of how fast they are.

Owns which of them have a model and may be used, what they are expected to take, and that one which does not
answer is left alone for a while. Must not know what else could answer a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from mesh.card import ModelCard, Skill, SkillWeight
from mesh.decision import Option, OptionKind, Prediction, Privacy
from mesh.errors import (
    Concern,
    MeshError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    from_code,
    retry_after_s,
)
from mesh.logic.pace import RunningMean
from mesh.now import now_s
from mesh.ports import Upstream
from mesh.upstream import (
    UpstreamModel,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamReasoning,
    UpstreamText,
    concern_of,
)

_OWNERS_WORD = 0.5  # what it weighs that an owner calls a model good at something

_LEFT_ALONE_S = 30.0  # after it did not answer
_TOKEN_BYTES = 8  # of text, that no tokenizer puts more of into a token on average

_REACH = {Privacy.DEVICE: 0, Privacy.MESH: 1, Privacy.CLOUD: 2}
"""How far each goes."""

_KINDS = {
    UpstreamUnreachable: "nobody answered",
    UpstreamRefused: "it refused; look at its key, address and models",
    UpstreamBusy: "it was busy",
    UpstreamBroken: "its answer broke off, or was none",
}
"""What went wrong, without the server's own words."""


@dataclass(slots=True)
class _Pace:
    """How fast a server was with one model."""

    first_token: RunningMean = field(default_factory=RunningMean)
    token: RunningMean = field(default_factory=RunningMean)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a server is left alone."""

    error: MeshError
    again_s: float
    """When it may be asked again."""

    @property
    def left_s(self) -> float:
        """Until then; 0 or less where that is over."""
        return self.again_s - now_s()

    @property
    def kind(self) -> str:
        """What went wrong, without what it said, for that was said to somebody else."""
        return next((text for kind, text in _KINDS.items() if isinstance(self.error, kind)), "it failed")


@dataclass(slots=True)
class Server:
    """A server, and what was seen of it."""

    upstream: Upstream
    _paces: dict[str, _Pace] = field(default_factory=dict)
    """By the model's name."""
    _failures: dict[str | None, _Failure] = field(default_factory=dict)
    """By the model that is left alone; None: all of them."""

    @property
    def name(self) -> str:
        """Its owner's name for it."""
        return self.upstream.card.name

    async def ask(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
        """Ask, and yield the pieces as they come, the last one an end; learns how long it takes.

        Raises as `Upstream.chat`, and UpstreamBroken for one that says nothing for too long. One that fails
        is left alone for a while, or only its model where that is what the failure concerns; not so where it
        only refused this question.
        """
        began_s, times_s, num_tokens = now_s(), list[float](), 0
        try:
            async with aclosing(self.upstream.chat(question)) as pieces:
                while (piece := await self._next(pieces)) is not None:
                    if isinstance(piece, UpstreamText | UpstreamReasoning):
                        times_s.append(now_s())
                    elif piece.usage is not None:
                        num_tokens = piece.usage.num_tokens
                    yield piece
        except MeshError as error:
            self._failed(question.model, error)
            raise
        self._learn(question.model, [at - began_s for at in times_s], num_tokens or len(times_s))

    async def _next(self, pieces: AsyncGenerator[UpstreamPiece]) -> UpstreamPiece | None:
        """Wait for the next piece; None at the end."""
        silence_s = self.upstream.card.silence_s
        try:
            async with asyncio.timeout(silence_s):
                return await anext(pieces, None)
        except TimeoutError:
            text = f"the upstream '{self.name}' said nothing for {silence_s:g} s (see silence_s)"
            raise UpstreamBroken(text) from None

    def _failed(self, model: str, error: MeshError) -> None:
        concern = concern_of(error)
        if concern is not Concern.QUESTION:
            left_alone = model if concern is Concern.MODEL else None
            self._failures[left_alone] = _Failure(error, now_s() + (retry_after_s(error) or _LEFT_ALONE_S))

    def _learn(self, model: str, after_s: Sequence[float], num_tokens: int) -> None:
        """Take how many seconds after the question each piece of a whole answer came."""
        self._failures.pop(None, None)
        self._failures.pop(model, None)
        pace = self._paces.setdefault(model, _Pace())
        if after_s:
            pace.first_token.add(after_s[0])
        if num_tokens > 1 and after_s and after_s[-1] > after_s[0]:
            pace.token.add((after_s[-1] - after_s[0]) / (num_tokens - 1))

    def expected(self, model: str, num_tokens: int) -> Prediction | None:
        """What an answer is expected to take; None where nothing is known, or it does not have the model."""
        if not self.has(model):
            return None
        card, pace = self.upstream.card, self._paces.get(model, _Pace())
        token_s = pace.token.seconds or (1 / card.tokens_per_s if card.tokens_per_s else 0.0)
        first_s = pace.first_token.seconds or card.first_token_s
        if not token_s or first_s is None:
            return None
        return Prediction(0.0, first_s, token_s, num_tokens)

    def obstacle(self, model: str, privacy: Privacy, num_bytes: int = 0) -> str | None:
        """Say why it is not to be asked; None where it is. `num_bytes`: of the prompt."""
        card = self.upstream.card
        if (lasting := self._lasting_obstacle(model, privacy)) is not None:
            return lasting
        if card.context_length is not None and num_bytes > _TOKEN_BYTES * card.context_length:
            return (
                f"a prompt of {num_bytes} bytes is more than the {card.context_length} tokens that it takes"
            )
        if (failure := self._failure(model)) is None:
            return None
        return f"it failed a moment ago ({failure.kind}); it is tried again in {_seconds(failure.left_s)}"

    def could(self, model: str, privacy: Privacy) -> bool:
        """Whether it has a model, and may be asked."""
        return self._lasting_obstacle(model, privacy) is None

    def _lasting_obstacle(self, model: str, privacy: Privacy) -> str | None:
        if not self.has(model):
            return f"it does not have {model}"
        if _REACH[self.upstream.card.privacy] > _REACH[privacy]:
            return f"the request may not go further than '{privacy}'"
        return None

    def has(self, model: str) -> bool:
        """Whether its owner says that it has a model of that name."""
        return any(known.name == model for known in self.upstream.card.models)

    def trouble(self, model: str) -> MeshError | None:
        """Why a model of it is left alone at this moment, without what it said to somebody else."""
        if (failure := self._failure(model)) is None:
            return None
        again = f"ask again in {_seconds(failure.left_s)} ({failure.kind})"
        text = f"the upstream '{self.name}' failed a moment ago; {again}"
        return from_code(failure.error.code, text, failure.left_s)

    def _failure(self, model: str) -> _Failure | None:
        """Why a model is left alone, the reason that lasts longest."""
        known = [self._failures[key] for key in (None, model) if key in self._failures]
        return max((each for each in known if each.left_s > 0), key=lambda each: each.again_s, default=None)


class Outside:
    """The servers attached to one node."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self.servers = tuple(Server(upstream) for upstream in upstreams)

    def models(self, privacy: Privacy) -> dict[str, ModelCard | None]:
        """The models that servers have which may be asked, with what their owner says of each, if anything.

        Of a model that several have, the first counts that its owner says something of.
        """
        found: dict[str, ModelCard | None] = {}
        for server in self.servers:
            for model in server.upstream.card.models:
                if server.obstacle(model.name, privacy) is None:
                    found[model.name] = found.get(model.name) or _card(model)
        return found

    def has(self, model: str) -> bool:
        """Whether some server has a model of that name, whether or not it may be asked now."""
        return any(server.has(model) for server in self.servers)

    def default_model(self, privacy: Privacy) -> str | None:
        """The first model of the first server that may be asked."""
        return next(iter(self.models(privacy)), None)

    def trouble(self, model: str, privacy: Privacy) -> MeshError | None:
        """Why nobody is to be asked for a model at this moment, where some server would be at another."""
        troubles = (server.trouble(model) for server in self.servers if server.could(model, privacy))
        return next((trouble for trouble in troubles if trouble is not None), None)

    def options(
        self, model: str, privacy: Privacy, num_tokens: int, num_bytes: int = 0
    ) -> list[tuple[Option, Server]]:
        """Each server as an option, those that are out of question with the reason.

        `num_tokens`: of the answer, as it is taken for; `num_bytes`: of the prompt.
        """
        return [
            (
                Option(
                    kind=OptionKind.UPSTREAM,
                    model=model,
                    upstream=server.name,
                    prediction=server.expected(model, num_tokens),
                    excluded=server.obstacle(model, privacy, num_bytes),
                ),
                server,
            )
            for server in self.servers
        ]


def _card(model: UpstreamModel) -> ModelCard | None:
    """What its owner says of a model of which nothing else is known; None where that is nothing."""
    skills = tuple(SkillWeight(Skill(word), _OWNERS_WORD) for word in dict.fromkeys(model.skills))
    return ModelCard(model.name, "", 0, 0, "", "", skills) if skills else None


def _seconds(left_s: float) -> str:
    return f"about {max(1, round(left_s))} s"
