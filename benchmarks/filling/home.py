"""A virtual home of three devices that share a model, with stage times and ways as they are told.

Owns its making. The nodes are the production ones; the model is the simulator's token function. Guesses are
right as often as they are told to be: those of the last stage, which take its time, and those of a drafter at
the gateway, which take none.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from unittest import mock

from benchmarks.filling.stage_times import NUM_STAGES, StageTimes
from mesh.client import Client
from mesh.config import Planning
from mesh.link import Link, open_link
from mesh.logic.capacity import Demand
from mesh.logic.drafting import Guess, Kind
from mesh.messages import PROTOCOL, Hello
from mesh.roles import guessing
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.spec import ModelSpec
from mesh.types import (
    Address,
    ChatMessage,
    DeviceClass,
    NodeId,
    NodeRecord,
    Precision,
    Sampling,
    Span,
    StageKey,
    Summary,
)
from simulator.compute import ModelledCompute
from simulator.devices.processor import Charge, FixedSpeed
from simulator.devices.roofline import FrameSize
from simulator.library import ByteCodec, MemoryLibrary
from simulator.network.discovery import VirtualMdns
from simulator.network.network import VirtualNetwork
from simulator.network.transport import VirtualTransport
from simulator.profiles import model_spec
from simulator.script import LinkScript
from simulator.token_function import TokenFunction, reference_tokens

SPEC = replace(model_spec("smollm2:135m"), has_mtp=True)
"""SmolLM2's shape, with a layer that guesses."""

GATEWAY, STAGE = "gateway", "stage"
"""Who guesses: somebody at the gateway, at no cost, or the last stage, in its own time."""

_LAN = "home"
_PORT = 7070
_CONTEXT = 1024
_TEMPERATURE = 0.8


@dataclass(frozen=True, slots=True)
class Setting:
    """What is varied."""

    times: StageTimes
    one_way_s: float
    """Between any two devices."""
    acceptance: float
    """How often a guess is right, given that those before it are."""
    drafter: str
    """GATEWAY or STAGE."""
    draft_depth: int | None
    draft_ahead: int | None


@dataclass(frozen=True, slots=True)
class _Measured:
    """Charges what was measured; the head and the guesses at the last stage alone."""

    times: StageTimes

    def charge(self, now_s: float, spec: ModelSpec, key: StageKey, sizes: Sequence[FrameSize]) -> Charge:
        """Book a batch; a node computes one after the other."""
        times, is_last = self.times, spec.is_last(key.span)
        step_s = times.step_s + (times.head_s if is_last and any(size.samples for size in sizes) else 0.0)
        return FixedSpeed(step_s, times.row_s, times.guess_s).charge(now_s, spec, key, sizes)

    def refund(self, now_s: float, charge: Charge) -> None:
        """Do nothing: nothing is booked."""

    def load_seconds(self, num_bytes: int) -> float:
        """Say that loading takes no time."""
        return 0.0


class Knowing:
    """A drafter that knows the answer, and is wrong now and then; see `mesh.logic.drafting.Drafter`."""

    name = "knowing"

    def __init__(self, answer: tuple[int, ...], acceptance: float, seed: int) -> None:
        self._answer = answer
        self._acceptance = acceptance
        self._random = random.Random(seed)
        self._num_known = 0
        self._guessed: dict[int, int] = {}
        """By position: asked twice for one, it guesses the same."""

    def came(self, tokens: Sequence[int]) -> None:
        """Take tokens; see the protocol."""
        self._num_known += len(tokens)

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        """Guess; see the protocol."""
        start = self._num_known + len(pending)
        tokens = tuple(self._at(position) for position in range(start, min(start + most, len(self._answer))))
        return Guess(tokens, (Kind(self.name, 0, self._acceptance),) * len(tokens))

    def _at(self, position: int) -> int:
        if position not in self._guessed:
            is_right = self._random.random() < self._acceptance
            token = self._answer[position]
            self._guessed[position] = token if is_right else (token + 1) % SPEC.vocab_size
        return self._guessed[position]


@dataclass(frozen=True, slots=True)
class Home:
    """Three devices, and who asks them."""

    client: Client
    setting: Setting

    async def ask(self, prompt: str, num_tokens: int, seed: int) -> Summary:
        """Ask for an answer of so many tokens; it must have those of the undivided model."""
        prompt_ids = ByteCodec().encode_chat((ChatMessage("user", prompt),))
        sampling = Sampling(temperature=_TEMPERATURE, seed=seed)
        tokens, _ = reference_tokens(SPEC, prompt_ids, sampling, num_tokens, ByteCodec().stop_ids)
        drafter = Knowing((*prompt_ids, *tokens), self.setting.acceptance, seed)
        with mock.patch.object(guessing, "PromptLookup", return_value=drafter):
            answer = self.client.chat(
                prompt,
                model=SPEC.name,
                max_tokens=num_tokens,
                temperature=_TEMPERATURE,
                seed=seed,
                drafting="lookup" if self.setting.drafter == GATEWAY else "mtp",
            )
            await answer.text()
        if answer.summary.tokens != tokens:
            raise SystemExit("other tokens than those of the undivided model")
        return answer.summary


@asynccontextmanager
async def a_home(setting: Setting) -> AsyncIterator[Home]:
    """Start three devices, each with room for a third of the model; yields the home."""
    network = VirtualNetwork()
    network.add_lan(_LAN)
    mdns = VirtualMdns(network)
    link = LinkScript(
        "wire", is_shared=False, up_rate_bps=1e9, down_rate_bps=1e9, delay_s=setting.one_way_s / 2
    )
    async with asyncio.TaskGroup() as tasks:
        nodes: list[Node] = []
        for index in range(NUM_STAGES):
            host = network.add_host(f"device-{index}", f"10.0.0.{index + 1}", _LAN, link)
            transport = VirtualTransport(network, host)
            listener = await transport.listen(Address(host.address, _PORT))
            compute = ModelledCompute(
                (SPEC,), _Measured(setting.times), TokenFunction((SPEC,), setting.acceptance)
            )
            record = NodeRecord(
                node_id=NodeId(f"{index + 1:032x}"),
                name=host.name,
                device_class=DeviceClass.TV,
                address=listener.address,
                mesh=_LAN,
                version=PROTOCOL,
                incarnation=1,
            )
            planning = Planning(draft_depth=setting.draft_depth, draft_ahead=setting.draft_ahead)
            ports = Ports(transport, mdns.discovery(host), compute, MemoryLibrary((SPEC,)))
            node = Node(record, listener, ports, NodeSettings(_third_bytes(), (), planning=planning))
            nodes.append(node)
            tasks.create_task(node.run())
        await asyncio.sleep(2)  # until all have met
        try:
            transport = VirtualTransport(network, network.hosts["10.0.0.1"])
            yield Home(_client(transport, nodes[0].record), setting)
        finally:
            for node in nodes:
                node.stop()


def _client(transport: VirtualTransport, record: NodeRecord) -> Client:
    async def dialled(to: NodeRecord) -> Link:
        return await open_link(transport, to.address, Hello(PROTOCOL, _LAN, None), 1.0)

    return Client(record, lambda: dialled(record), random.Random(1), dialled)


def _third_bytes() -> int:
    """Memory for a third of the layers, both ends and some sessions, and no more."""
    demand = Demand(SPEC, Precision.INT4, _CONTEXT)
    size = SPEC.num_layers // NUM_STAGES
    spans = (Span(0, size), Span(size, 2 * size), Span(2 * size, SPEC.num_layers))
    stages = [
        SPEC.weights_bytes(span, demand.precision) + SPEC.cache_bytes(span, _CONTEXT, demand.precision)
        for span in spans
    ]
    return max(stages) + demand.layer_bytes // 2
