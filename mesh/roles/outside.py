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
from mesh.errors import MeshError, UpstreamBroken, UpstreamRefused, from_code, retry_after_s
from mesh.logic.pace import RunningMean
from mesh.now import now_s
from mesh.ports import Upstream
from mesh.upstream import UpstreamModel, UpstreamPiece, UpstreamQuestion, UpstreamReasoning, UpstreamText

_OWNERS_WORD = 0.5  # what it weighs that an owner calls a model good at something

_LEFT_ALONE_S = 30.0  # after it did not answer
_SILENCE_S = 30.0  # after which it will not answer
_TOKEN_BYTES = 8  # of text, that no tokenizer puts more of into a token on average

_REACH = {Privacy.DEVICE: 0, Privacy.MESH: 1, Privacy.CLOUD: 2}
"""How far each goes."""


@dataclass(slots=True)
class Server:
    """A server, and what was seen of it."""

    upstream: Upstream
    first_token: RunningMean = field(default_factory=RunningMean)
    token: RunningMean = field(default_factory=RunningMean)
    failure: MeshError | None = None
    """Why it is left alone; None where it is not."""
    again_s: float = 0.0
    """When it may be asked again."""

    @property
    def name(self) -> str:
        """Its owner's name for it."""
        return self.upstream.card.name

    async def ask(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
        """Ask, and yield the pieces as they come, the last one an end; learns how long it takes.

        Raises as `Upstream.chat`, and UpstreamBroken for one that says nothing for too long. One that fails
        is left alone for a while, unless it only refused this question.
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
        except UpstreamRefused:
            raise
        except MeshError as error:
            self.failure, self.again_s = error, now_s() + (retry_after_s(error) or _LEFT_ALONE_S)
            raise
        self._learn(began_s, times_s, num_tokens or len(times_s))

    async def _next(self, pieces: AsyncGenerator[UpstreamPiece]) -> UpstreamPiece | None:
        """Wait for the next piece; None at the end."""
        try:
            async with asyncio.timeout(_SILENCE_S):
                return await anext(pieces, None)
        except TimeoutError:
            raise UpstreamBroken(f"the upstream '{self.name}' said nothing for {_SILENCE_S:g} s") from None

    def _learn(self, began_s: float, times_s: Sequence[float], num_tokens: int) -> None:
        self.failure = None
        if times_s:
            self.first_token.add(times_s[0] - began_s)
        if num_tokens > 1 and times_s and times_s[-1] > times_s[0]:
            self.token.add((times_s[-1] - times_s[0]) / (num_tokens - 1))

    def expected(self, num_tokens: int) -> Prediction | None:
        """What an answer is expected to take; None where nothing is known."""
        card = self.upstream.card
        token_s = self.token.seconds or (1 / card.tokens_per_s if card.tokens_per_s else 0.0)
        first_s = self.first_token.seconds or card.first_token_s
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
        return None if self.trouble() is None else "it failed a moment ago"

    def could(self, model: str, privacy: Privacy) -> bool:
        """Whether it has a model, and may be asked."""
        return self._lasting_obstacle(model, privacy) is None

    def _lasting_obstacle(self, model: str, privacy: Privacy) -> str | None:
        card = self.upstream.card
        if _REACH[card.privacy] > _REACH[privacy]:
            return f"the request may not go further than '{privacy}'"
        if not any(known.name == model for known in card.models):
            return f"it does not have {model}"
        return None

    def trouble(self) -> MeshError | None:
        """Why it is left alone at this moment, without what it said, for that was said to somebody else."""
        if self.failure is None or now_s() >= self.again_s:
            return None
        text = f"the upstream '{self.name}' failed a moment ago; ask again"
        return from_code(self.failure.code, text, self.again_s - now_s())


class Outside:
    """The servers attached to one node."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self.servers = tuple(Server(upstream) for upstream in upstreams)

    def models(self, privacy: Privacy) -> dict[str, ModelCard]:
        """The models that servers have which may be asked, with what their owner says of each."""
        return {
            model.name: _card(model)
            for server in self.servers
            for model in server.upstream.card.models
            if server.obstacle(model.name, privacy) is None
        }

    def default_model(self, privacy: Privacy) -> str | None:
        """The first model of the first server that may be asked."""
        return next(iter(self.models(privacy)), None)

    def trouble(self, model: str, privacy: Privacy) -> MeshError | None:
        """Why nobody is to be asked for a model at this moment, where some server would be at another."""
        troubles = (server.trouble() for server in self.servers if server.could(model, privacy))
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
                    prediction=server.expected(num_tokens),
                    excluded=server.obstacle(model, privacy, num_bytes),
                ),
                server,
            )
            for server in self.servers
        ]


def _card(model: UpstreamModel) -> ModelCard:
    """What its owner says of a model of which nothing else is known; words that are no skills say nothing."""
    known = {skill.value for skill in Skill}
    words = [word for word in model.skills if word in known] or [Skill.CHAT.value]
    skills = tuple(SkillWeight(Skill(word), _OWNERS_WORD) for word in dict.fromkeys(words))
    return ModelCard(model.name, "", 0, 0, "", "", skills)
