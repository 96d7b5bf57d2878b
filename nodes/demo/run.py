"""A demo from start to end: start devices, let them find each other, ask, and leave nothing behind.

Owns the order of steps. What the devices do is the agents' own; this process is a client like any other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mesh
from mesh.adapters.disk_library import DiskLibrary
from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.client import ChatOptions, Client
from mesh.config import Planning
from mesh.errors import MeshError, NoDevices, first_of
from mesh.logic.partition import Demand
from mesh.logic.session import needed_context, planned_context
from mesh.now import now_s
from mesh.ports import Appeared
from mesh.store.shelf import ModelStore
from mesh.types import ChatMessage, NodeRecord, NodeState, Precision, Standby, Summary
from nodes.demo.hearing import Hearing
from nodes.demo.household import DemoDevice, with_limits, with_spare
from nodes.demo.kills import Kill
from nodes.demo.processes import AgentChoices, AgentProcess, running_agents
from nodes.demo.story import Met, Show, Starting

T = TypeVar("T")

_MEET_S = 20.0  # for processes to start and find each other on a busy machine
_LOOK_S = 0.05  # between looks at who is there


@dataclass(frozen=True, slots=True)
class DemoOrder:
    """What to show."""

    devices: tuple[DemoDevice, ...]
    prompt: str
    data_dir: Path
    options: ChatOptions
    """Names the model."""
    kills: tuple[Kill, ...] = ()
    standby: Standby = Standby.NONE

    @property
    def model(self) -> str:
        """Which model answers."""
        return self.options["model"]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What was seen."""

    text: str
    summary: Summary
    found: tuple[NodeRecord, ...]
    """The devices in their order, each as it announced itself by mDNS."""
    start_to_first_token_s: float
    missed: tuple[Kill, ...]
    """Devices that were not killed because the answer was over before."""
    reasoning: str
    """What the model thought before the text."""


async def run_demo(order: DemoOrder, show: Show) -> DemoResult:
    """Run a demo; raises MeshError. Cancelled or failed, it leaves no process behind."""
    began_s = now_s()
    demand = await _demand(order)
    devices = with_limits(order.devices, demand)
    if order.kills:
        devices = with_spare(devices, demand)
    show(Starting(devices, order.prompt))
    # A mesh of its own: no device of a real one is drawn in, and two demos do not mix.
    choices = AgentChoices(f"demo-{secrets.token_hex(4)}", order.data_dir, order.standby)
    async with running_agents(devices, choices) as agents:
        home = _Home(order, agents, choices.mesh_name, show)
        return await _while_running(agents, home.answer(began_s))


@dataclass(frozen=True, slots=True)
class _Home:
    """A demo whose agents are running."""

    order: DemoOrder
    agents: tuple[AgentProcess, ...]
    """One for each device, in their order."""
    mesh_name: str
    show: Show

    async def answer(self, began_s: float) -> DemoResult:
        """Wait until all have met, ask, and pass on what comes."""
        found = await self._within_reason(self._find())
        async with mesh.connect(str(found[0].address), mesh=self.mesh_name) as client:
            await self._within_reason(self._meet(client))
            answer = client.chat(self.order.prompt, **self.order.options)
            heard = Hearing(answer, self.order.kills, self._kill, self.show)
            await heard.listen()
        first_s = heard.first_s - began_s
        return DemoResult(heard.text, answer.summary, found, first_s, heard.missed, heard.reasoning)

    def _kill(self, name: str) -> None:
        next(agent for agent in self.agents if agent.device.name == name).kill()

    async def _find(self) -> tuple[NodeRecord, ...]:
        """Return the devices' records as they announce them, in the order of the demo's devices."""
        found: dict[str, NodeRecord] = {}
        discovery = ZeroconfDiscovery(loopback_only=True)
        try:
            async with aclosing(discovery.watch()) as sightings:
                async for sighting in sightings:
                    if isinstance(sighting, Appeared) and sighting.record.mesh == self.mesh_name:
                        found[sighting.record.name] = sighting.record
                    if len(found) == len(self.agents):
                        break
        finally:
            await discovery.close()
        return tuple(found[agent.device.name] for agent in self.agents)

    async def _meet(self, client: Client) -> None:
        """Wait until the first device has heard all the others."""
        while True:
            alive = tuple(d for d in await client.devices() if d.state is NodeState.ALIVE)
            self.show(Met(alive))
            if len(alive) == len(self.agents):
                return
            await asyncio.sleep(_LOOK_S)

    async def _within_reason(self, work: Coroutine[object, object, T]) -> T:
        try:
            async with asyncio.timeout(_MEET_S):
                return await work
        except TimeoutError as error:
            names = ", ".join(agent.device.name for agent in self.agents)
            raise NoDevices(
                f"{names} did not all find each other within {_MEET_S:g} s; "
                "does this machine allow multicast on loopback?"
            ) from error


async def _while_running(agents: Sequence[AgentProcess], work: Coroutine[object, object, T]) -> T:
    """Do the work; an agent that ends meanwhile fails it, unless it was killed on purpose."""
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(_fail_with(agent)) for agent in agents]
            result = await work
            for task in watching:
                task.cancel()
    except* MeshError as group:
        raise first_of(group) from None
    return result


async def _fail_with(agent: AgentProcess) -> None:
    failure = await agent.failure()
    if failure is not None:
        raise failure


async def _demand(order: DemoOrder) -> Demand:
    """Count what the prompt and its answer need."""
    library = DiskLibrary(ModelStore(order.data_dir))
    spec = await library.spec(order.model)
    prompt = await library.encode_chat(order.model, [ChatMessage("user", order.prompt)])
    needed = needed_context(len(prompt), order.options["max_tokens"], spec.context_length)
    context = planned_context(needed, Planning().context_step, spec.context_length)
    return Demand(spec, Precision.INT4, context)
