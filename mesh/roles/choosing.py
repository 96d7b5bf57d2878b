"""What a request may be answered with: which model, and which ways, the best first.

Owns the choice of the model and the order among the mesh and the servers outside it. Must not know how a way
is predicted (`mesh.logic.routing`), nor how an answer is made (`mesh.roles.chatting`).

The mesh goes before a server that is not better by a margin, and before all of them where it is not known how
fast the mesh is: what need not leave the house stays there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from math import inf

from mesh.card import ModelCard
from mesh.decision import Decision, Option, Privacy
from mesh.errors import (
    BadRequest,
    BadSetting,
    ContextExceeded,
    InsufficientMemory,
    MeshError,
    ModelError,
    ModelNotPulled,
    UnknownModel,
    from_code,
)
from mesh.logic.explaining import reason
from mesh.logic.naming import meant
from mesh.logic.routing import MARGIN
from mesh.logic.session import needed_context
from mesh.logic.settling import prompted, settled
from mesh.logic.skills import AUTO, Model, choose
from mesh.messages import ChatRequest, PlanRequest
from mesh.ports import Library, TextCodec
from mesh.roles.outside import Outside, Server
from mesh.roles.planning import FirstRoute, Planner, Wish
from mesh.spec import ModelSpec
from mesh.types import Settled

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as far as it can be read here."""

    model: str
    privacy: Privacy
    max_tokens: int
    context: int | None
    spec: ModelSpec | None
    """None where only a server outside has the model."""
    codec: TextCodec | None
    """None where there is no `spec`, and where nothing is to be answered."""
    prompt: tuple[int, ...]
    num_bytes: int = 0
    """Of the prompt's text."""
    card: ModelCard | None = None
    """None where nothing is known of the model."""

    def settled(self, request: ChatRequest) -> Settled:
        """What the request, whose question this is, leaves open."""
        codec = self.codec
        if codec is None:
            return settled(request, self.card)
        is_begun = codec.opens_thinking(self.prompt)
        return settled(request, self.card, codec.advice, thinks=codec.thinks, is_begun=is_begun)

    @property
    def wish(self) -> Wish:
        """What the planner has to know of it."""
        return Wish(self.max_tokens, self.privacy)


@dataclass(frozen=True, slots=True)
class Choice:
    """A way that may be tried."""

    option: Option
    by: FirstRoute | Server

    @property
    def rank(self) -> float:
        """The least is tried first."""
        prediction, is_mesh = self.option.prediction, isinstance(self.by, FirstRoute)
        if prediction is None:
            return -inf if is_mesh else inf
        return prediction.last_token_s / MARGIN if is_mesh else prediction.last_token_s


class Choosing:
    """Chooses for the requests of one gateway."""

    def __init__(self, name: str, library: Library, planner: Planner, outside: Outside) -> None:
        """`name`: of the device that is asked."""
        self._name = name
        self._library = library
        self._planner = planner
        self._outside = outside

    async def prepared(
        self,
        request: ChatRequest | PlanRequest,
        context: int | None = None,
    ) -> tuple[Question, list[Choice], Decision]:
        """Choose the model and the ways: of the models that fit the first for which there is a way.

        `context`: positions to make room for; by default those of the prompt and the answer. Raises what is
        wrong with the request, or InsufficientMemory where nobody can answer.
        """
        models, passed_over = await self._models(request)
        for model, why in models:
            try:
                question = await self._read(request, model, context)
                choices, decision = self._decide(question)
            except (InsufficientMemory, ContextExceeded, ModelNotPulled, ModelError):
                if model == models[-1][0]:
                    raise
            else:
                lacks = question.spec.no_mtp if question.spec is not None else ""
                missing = [f"{question.model} guesses no tokens by itself: {lacks}"] if lacks else []
                notes = (*decision.notes, *([why] if why else []), *passed_over, *missing)
                return question, choices, replace(decision, notes=notes)
        raise ModelNotPulled("there is no model")  # never: there is one at least

    async def _models(self, request: ChatRequest | PlanRequest) -> tuple[list[tuple[str, str]], list[str]]:
        """Name the models that may answer, the best first, each with why; and say what the others lack."""
        if request.model is not None and request.model != AUTO:
            return [(request.model, "")], []
        if request.model is None and request.skill is None:
            return [(self._default_model(request.privacy), "")], []
        choice = choose(await self._present(request.privacy), request.skill)
        lacking = [f"{verdict.name}: {verdict.reason}" for verdict in choice.passed_over]
        if not choice.fitting:
            wanted = f"has no model for '{request.skill or 'chat'}' ({'; '.join(lacking) or 'none at all'})"
            raise ModelNotPulled(f"{self._name} {wanted}; pull one that has it with `mesh pull`")
        return [(verdict.name, f"{verdict.name}: {verdict.reason}") for verdict in choice.fitting], lacking

    async def _present(self, privacy: Privacy) -> list[Model]:
        """The models that are here, or at servers that may be asked."""
        here = [await self._known(model.name) for model in self._library.models()]
        names = {model.name for model in here}
        served = [(name, said) for name, said in self._outside.models(privacy).items() if name not in names]
        return [*here, *[Model(name, said) if said else await self._known(name) for name, said in served]]

    async def _known(self, name: str) -> Model:
        """A model with its card; one that cannot be read is as good as none."""
        try:
            return Model(name, await self._library.card(name))
        except BadSetting as error:
            _log.warning("the card of %s: %s", name, error)
            return Model(name, None, trouble=str(error))

    async def _read(self, request: ChatRequest | PlanRequest, model: str, context: int | None) -> Question:
        library = self._library
        spec: ModelSpec | None = None
        codec: TextCodec | None = None
        prompt: tuple[int, ...] = ()
        try:
            spec = await library.spec(model)
        except (ModelNotPulled, UnknownModel, ModelError) as error:
            if (other := await self._meant(model, request.privacy, error)) != model:
                return await self._read(request, other, context)
            if all(option.excluded for option, _ in self._outside.options(model, request.privacy, 1)):
                raise self._nobody_has(model, request.privacy, error) from error
        card = (await self._known(model)).card
        if spec is not None and request.messages:
            prompt = await library.encode_chat(model, prompted(request.messages, card))
        is_empty = not prompt if spec is not None else not request.messages
        if isinstance(request, ChatRequest) and is_empty:
            raise BadRequest("the prompt is empty; say what to ask")
        if isinstance(request, ChatRequest) and spec is not None:
            codec = await library.codec(model)
        num_bytes = sum(len(message.content.encode()) for message in request.messages)
        return Question(
            model=model,
            privacy=request.privacy,
            max_tokens=request.max_tokens,
            context=context,
            spec=spec,
            codec=codec,
            prompt=prompt,
            num_bytes=num_bytes,
            card=card,
        )

    async def _meant(self, model: str, privacy: Privacy, error: MeshError) -> str:
        """The model that is meant by a name with which the library failed so; the same where it is known.

        Raises UnknownModel where it may mean several that are present.
        """
        is_known = not isinstance(error, UnknownModel) or self._outside.has(model)
        return model if is_known else meant(model, await self._present(privacy))

    def _nobody_has(self, model: str, privacy: Privacy, error: MeshError) -> MeshError:
        """What to say of a model that is not here, nor at a server that may be asked now."""
        if (trouble := self._outside.trouble(model, privacy)) is not None:
            return trouble
        beyond = [o.name for o, _ in self._outside.options(model, Privacy.CLOUD, 1) if o.excluded is None]
        if not beyond:
            return error
        return from_code(
            error.code,
            f"{model} is only at {' and '.join(beyond)}, and the request may not go further than "
            f"'{privacy}'; say how far it may with --privacy",
        )

    def _decide(self, question: Question) -> tuple[list[Choice], Decision]:
        """Put the ways in their order, the best first.

        Raises InsufficientMemory or ContextExceeded where there is none.
        """
        failure: InsufficientMemory | ContextExceeded | None = None
        first: FirstRoute | None = None
        try:
            first = self._first_route(question)
        except (InsufficientMemory, ContextExceeded) as error:
            failure = error
        num_tokens = self._planner.expected_tokens(question.wish)
        servers = self._outside.options(question.model, question.privacy, num_tokens, question.num_bytes)
        choices = [Choice(option, server) for option, server in servers if option.excluded is None]
        mesh = first.decision if first is not None else None
        if first is not None and mesh is not None:
            choices.insert(0, Choice(mesh.options[0], first))
        if not choices:
            out = [f"{option.name}: {option.excluded}" for option, _ in servers]
            code = failure.code if failure is not None else InsufficientMemory.code
            raise from_code(code, "; ".join([*([str(failure)] if failure else []), *out]))
        choices.sort(key=lambda choice: choice.rank)
        others = [*(mesh.options[1:] if mesh else ()), *(o for o, _ in servers if o.excluded is not None)]
        others.sort(key=lambda option: option.excluded is not None)
        options = (*(choice.option for choice in choices), *others)
        base = mesh or Decision(question.model, question.privacy, len(question.prompt), (), "")
        return choices, replace(base, options=options, reason=reason(options))

    def _first_route(self, question: Question) -> FirstRoute | None:
        if question.spec is None:
            return None
        asked = question.max_tokens if question.context is None else question.context
        needed = needed_context(len(question.prompt), asked, question.spec.context_length)
        demand = self._planner.demand(question.spec, needed)
        return self._planner.decide(demand, question.prompt, question.wish)

    def _default_model(self, privacy: Privacy) -> str:
        here = next((model.name for model in self._library.models()), None)
        found = here or self._outside.default_model(privacy)
        if found is not None:
            return found
        raise ModelNotPulled(f"{self._name} has no model; run `mesh pull smollm2:135m` there")
