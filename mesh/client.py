"""What an app calls.

Owns the client's side of a request: what is asked, what comes back, and that an answer given up is given
up on every device. Each request has a link of its own, so that to abandon it is to close it. Must not know
how a gateway is found or given up; that is `mesh.gateways` and `mesh.conversation`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypedDict, Unpack

from mesh.conversation import Conversation, Patience, asking, reply
from mesh.decision import Decision, Explanation, Privacy
from mesh.errors import (
    BadSetting,
    InsufficientMemory,
    InternalError,
    NoDevices,
    UnknownDevice,
)
from mesh.gateways import Gateways, Open, OpenNode, Way
from mesh.link import Link
from mesh.logic.account import Account
from mesh.messages import (
    ChatFinished,
    ChatRequest,
    Decided,
    DevicesReply,
    DevicesRequest,
    DrainReply,
    DrainRequest,
    Message,
    Piece,
    PlanReply,
    PlanRequest,
    Routed,
)
from mesh.now import now_s
from mesh.types import (
    MIN_ID_DIGITS,
    ChatMessage,
    Device,
    Drafting,
    NodeRecord,
    NodeState,
    Plan,
    Recovery,
    Sampling,
    SamplingField,
    Summary,
)

_REQUEST_ID = 1  # the only request on its link
_SHOWN_ID_DIGITS = 8

DEFAULT_MAX_TOKENS = 256


class ChatOptions(TypedDict, total=False):
    """How an answer is made; everything has a default."""

    model: str
    """Name of a model; by default the gateway's first. 'auto': the best that is there."""
    max_tokens: int
    """Longest answer; 256."""
    temperature: float
    """0 takes the most likely token each time. This, top_k, top_p and min_p: where they are not given, as the
    model's card recommends, or its folder; else 0, and nothing left out."""
    top_k: int
    top_p: float
    min_p: float
    seed: int
    """The same seed, model and prompt give the same answer; drawn at random by default."""
    deadline_s: float
    """Seconds after which the answer fails rather than goes on."""
    skill: str
    """What the model is to be good at, where none is named: chat, math, code, ...; see `mesh.card.Skill`."""
    privacy: str
    """How far the request may go: device, mesh (the default) or cloud; see `mesh.Privacy`."""
    drafting: str
    """How tokens are guessed ahead: auto, none, lookup, mtp or model; by default as the gateway has it."""


class Answer:
    """One answer as it comes: iterate once over its pieces, then look at its summary.

    Where its gateway is lost the answer goes on at another one, with the very tokens that it would have had.
    Leaving the iteration early, or being cancelled in it, ends the work on every device.
    """

    def __init__(self, request: ChatRequest, gateways: Gateways) -> None:
        self.request = request
        """What is asked."""
        self._gateways = gateways
        self._account: Account | None = None

    def __aiter__(self) -> AsyncGenerator[Piece]:
        return self._pieces()

    async def events(self) -> AsyncGenerator[Routed | Piece]:
        """Yield what iterating yields, and each route before the pieces that come by it.

        A route after a loss carries the recovery, with its whole pause: it comes just before the first piece.
        Raises BadSetting for a second iteration, of whichever kind.
        """
        if self._account is not None:
            raise BadSetting("an answer can be iterated once; ask again for another")
        account = self._account = Account(self.request, now_s())
        conversation = Conversation(account, self._gateways)
        try:
            while account.summary is None:
                for event in self._take(await conversation.next(), conversation):
                    yield event
        finally:
            await conversation.close()

    async def text(self) -> str:
        """Wait for the whole answer and return it, without the reasoning before it."""
        return "".join([piece.text async for piece in self])

    @property
    def reasoning(self) -> str:
        """What the model has thought before its answer so far; nothing where it does not think."""
        return self._account.reasoning if self._account else ""

    @property
    def seed(self) -> int:
        """The seed that this answer is drawn with."""
        return self.request.sampling.seed

    @property
    def route(self) -> Plan | None:
        """The way that it takes now; None until that is known."""
        return self._account.route if self._account else None

    @property
    def decision(self) -> Decision | None:
        """Why it takes its way, and what other ways there were; None until that is known."""
        return self._account.decision if self._account else None

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        """How it went on after losses so far, in order of time; one for each pause."""
        return self._account.recoveries if self._account else ()

    @property
    def summary(self) -> Summary:
        """What is known of the whole answer when it has ended; raise BadSetting before."""
        if self._account is None or self._account.summary is None:
            raise BadSetting("an answer has a summary when all its pieces have come")
        return self._account.summary

    async def _pieces(self) -> AsyncGenerator[Piece]:
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, Piece):
                    yield event

    def _take(self, message: Message, conversation: Conversation) -> tuple[Routed | Piece, ...]:
        if not isinstance(message, Decided | Routed | Piece | ChatFinished):
            raise _surprise(message)
        if isinstance(message, Routed):
            self._gateways.named(message.gateways)
        elif isinstance(message, Piece):
            conversation.heard()
        assert self._account is not None
        return self._account.take(message, now_s())


class Client:
    """A connection to a mesh through one gateway, or through another where that is lost.

    Made by `mesh.connect`. `opened` opens a link to the gateway, `open_node` to any node that a gateway
    names, and `ways` lead to gateways that nobody has named.
    """

    def __init__(
        self,
        gateway: NodeRecord,
        opened: Open,
        rng: random.Random,
        open_node: OpenNode | None = None,
        ways: Sequence[Way] = (),
    ) -> None:
        self._gateways = Gateways(gateway, opened, open_node, ways)
        self._rng = rng
        self._staying = Gateways(gateway, opened)
        """For what may not leave the node that the caller knows of."""
        self.is_elsewhere = False
        """Whether the gateway was only discovered, and not on this device."""

    @property
    def gateway(self) -> NodeRecord:
        """The node that is asked."""
        return self._gateways.current

    def chat(self, prompt: str | Sequence[ChatMessage], **options: Unpack[ChatOptions]) -> Answer:
        """Ask for an answer to one prompt, or to a conversation whose last turn is the user's.

        Nothing is sent until the answer is iterated. Iterating raises what the mesh could not do, as a
        MeshError, after every piece that it could; an answer never just stops. Raises BadSetting for an
        option that makes no sense, and NoDevices where the request may not leave this device and no node of
        the mesh was found on it.
        """
        if unknown := sorted(options.keys() - ChatOptions.__annotations__.keys()):
            raise BadSetting(f"chat has no option '{unknown[0]}'")
        messages = _messages(prompt)
        privacy = Privacy.parse(options.get("privacy", Privacy.MESH))
        gateways = self._gateways_for(privacy)
        deadline_s = options.get("deadline_s")
        if deadline_s is not None and not deadline_s >= 0:  # written so that NaN is refused
            raise BadSetting(f"deadline_s is {deadline_s}; it must be 0 or more")
        seed = options.get("seed")
        sampling = Sampling(
            temperature=options.get("temperature", 0.0),
            top_k=options.get("top_k"),
            top_p=options.get("top_p", 1.0),
            min_p=options.get("min_p", 0.0),
            seed=self._rng.getrandbits(32) if seed is None else seed,
        )
        request = ChatRequest(
            request_id=_REQUEST_ID,
            model=options.get("model"),
            messages=messages,
            max_tokens=options.get("max_tokens", DEFAULT_MAX_TOKENS),
            sampling=sampling,
            deadline_s=deadline_s,
            privacy=privacy,
            skill=options.get("skill"),
            drafting=Drafting.parse(options["drafting"]) if "drafting" in options else None,
            left_open=tuple(field for field in SamplingField if field not in options),
        )
        return Answer(request, gateways)

    async def devices(self) -> tuple[Device, ...]:
        """The devices of the mesh as the gateway sees them, by name."""
        async with asking(partial(_open, self._gateways), DevicesRequest(_REQUEST_ID)) as link:
            match await reply(link, Patience.usual()):
                case DevicesReply(_, devices):
                    return devices
                case unexpected:
                    raise _surprise(unexpected)

    async def plan(self, model: str | None = None, context: int | None = None) -> Plan:
        """How the mesh would place a model now, for sessions of at least `context` positions."""
        chat = ChatOptions(model=model) if model else ChatOptions()
        explanation = await self.explain("", context or 1, **chat)
        if explanation.plan is None:
            raise InsufficientMemory(explanation.decision.reason)
        return explanation.plan

    async def explain(
        self, prompt: str | Sequence[ChatMessage], context: int | None = None, **options: Unpack[ChatOptions]
    ) -> Explanation:
        """How a chat with these options would be answered now, and why; nothing is computed.

        An empty prompt stands for any; `context`: positions to make room for, by default those of the prompt
        and the answer. Raises as `chat` does, and what the mesh could not do.
        """
        asked = self.chat(prompt, **options).request
        request = PlanRequest(
            request_id=_REQUEST_ID,
            model=asked.model,
            context=context,
            messages=asked.messages if prompt else (),
            max_tokens=0 if context else asked.max_tokens,
            privacy=asked.privacy,
            skill=asked.skill,
        )
        gateways = self._gateways_for(asked.privacy)
        async with asking(partial(_open, gateways), request) as link:
            match await reply(link, Patience.usual()):
                case PlanReply(_, plan, decision):
                    return Explanation(decision, plan)
                case unexpected:
                    raise _surprise(unexpected)

    async def drain(self, name: str, *, is_forced: bool = False, is_over: bool = False) -> None:
        """Have a device hand over what it holds and take nothing new, and wait until that is done.

        `name` may be the first 4 or more digits of its id. `is_forced`: even where nobody can take over, so
        that answers end. `is_over`: it takes part again. Raises UnknownDevice, with those that are there,
        BadSetting for a name of several devices, or LastHolder.
        """
        record = named_device(name, await self.devices())
        request = DrainRequest(_REQUEST_ID, is_forced, is_over)
        async with asking(partial(self._gateways.visit, record), request) as link:
            match await reply(link, Patience.usual()):
                case DrainReply():
                    return
                case unexpected:
                    raise _surprise(unexpected)

    def _gateways_for(self, privacy: Privacy) -> Gateways:
        """Who may be asked; raises NoDevices where what may not leave this device would have to."""
        if privacy is not Privacy.DEVICE:
            return self._gateways
        if self.is_elsewhere:
            raise NoDevices(
                "no node of the mesh was found on this device, and privacy 'device' lets nothing leave it; "
                "start one with `mesh up`, or name the one that may be asked with --peer HOST:PORT"
            )
        return self._staying


async def _open(gateways: Gateways) -> Link:
    return (await gateways.open()).link


def named_device(name: str, devices: Sequence[Device]) -> NodeRecord:
    """Find a device that is there by its name, or by the first 4 or more digits of its id.

    Raises UnknownDevice with the names of those that are there, BadSetting where several fit.
    """
    there = [device.record for device in devices if device.state not in (NodeState.LOST, NodeState.LEFT)]
    found = [record for record in there if record.name == name]
    if not found and len(name) >= MIN_ID_DIGITS:
        found = [record for record in there if record.node_id.startswith(name.lower())]
    if not found:
        names = ", ".join(dict.fromkeys(record.name for record in there))
        raise UnknownDevice(f"no device '{name}' is in the mesh now; those there are: {names}")
    if len(found) > 1:
        ids = ", ".join(record.node_id[:_SHOWN_ID_DIGITS] for record in found)
        raise BadSetting(f"'{name}' fits {len(found)} devices; name one by its id: {ids}")
    return found[0]


def _messages(prompt: str | Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    messages = (ChatMessage("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    if any(not _is_text(message.content) for message in messages):
        raise BadSetting("the prompt has bytes that are no UTF-8 text; write it anew")
    return messages


def _is_text(content: str) -> bool:
    """Whether it can be written as UTF-8: bytes that could not be read stand in it as half characters."""
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surprise(message: Message) -> InternalError:
    return InternalError(f"the gateway sent a {type(message).__name__} where none belongs")
