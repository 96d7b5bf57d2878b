"""The mesh's half: agents of one thread each that share a model, and clients on another device.

Owns how agents are started so that the model is split over all of them, and what a client measures with its
own clock: everything counts, from the request to the token in the client's hands.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import mesh
from benchmarks.beside.hearing import Heard, decode_rate, hear, joint_rate
from benchmarks.beside.links import WAYS, Hop, Link, free_address, shaped
from benchmarks.beside.processes import Command, Running, core_of, running
from benchmarks.beside.prompts import Prompts
from benchmarks.beside.sample import Sample, Work
from mesh.adapters.disk_library import DiskLibrary
from mesh.client import Client
from mesh.errors import InternalError, MeshError, NoDevices
from mesh.logic.partition import Demand
from mesh.store.shelf import ModelStore
from mesh.types import Address, DeviceClass, NodeState, Plan, Precision
from nodes.demo.household import DemoDevice, with_limits

_CONTEXT = 2048  # of the longest request, as plans round it, where the model has so much
_WHOLE_S = 60.0  # for processes to start and meet on a busy machine
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class MeshSetting:
    """What is run."""

    data_dir: Path
    model: str
    num_devices: int
    num_users: int = 8
    """For so many sessions there is room."""


@dataclass(frozen=True, slots=True)
class MeshHome:
    """Agents that have met and loaded the model. Made by `mesh_home`."""

    model: str
    mesh_name: str
    agents: tuple[Running, ...]
    door: Address
    """Where clients dial."""
    plan: Plan
    """By which the model was loaded."""
    prompts: Prompts

    @property
    def shares(self) -> tuple[int, ...]:
        """Layers of each stage, in the order of the stages."""
        return tuple(stage.span.num_layers for stage in self.plan.stages)

    async def decode(self, work: Work) -> Sample:
        """Tokens a second of one user, from the first token to the last."""
        before = self._cpu_s()
        (heard,) = await self._ask([self.prompts.story()], work.decode_tokens)
        return self._sample(decode_rate(heard), before)

    async def prefill(self, work: Work) -> Sample:
        """Prompt tokens a second until the first token is here; no two prompts begin alike."""
        before = self._cpu_s()
        (heard,) = await self._ask([self.prompts.of_length(work.prompt_tokens)], 1)
        return self._sample(work.prompt_tokens / heard.first_token_s, before)

    async def users(self, work: Work) -> Sample:
        """Tokens a second of all users together while all of them are being answered."""
        before = self._cpu_s()
        stories = [self.prompts.of_length(work.user_prompt_tokens) for _ in range(work.num_users)]
        return self._sample(joint_rate(await self._ask(stories, work.decode_tokens)), before)

    async def _ask(self, prompts: Sequence[str], max_tokens: int) -> list[Heard]:
        """Answers to prompts that are asked at once, each by a client of its own."""
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._ask_one(prompt, max_tokens)) for prompt in prompts]
        return [task.result() for task in asked]

    async def _ask_one(self, prompt: str, max_tokens: int) -> Heard:
        async with mesh.connect(str(self.door), mesh=self.mesh_name) as client:
            # Without guesses, as the other side: what they gain is measured in benchmarks.speculation.
            return await hear(client.chat(prompt, model=self.model, max_tokens=max_tokens, drafting="none"))

    def _cpu_s(self) -> list[float]:
        for agent in self.agents:
            agent.check()
        return [agent.cpu_s for agent in self.agents]

    def _sample(self, tokens_per_s: float, before: Sequence[float]) -> Sample:
        ends = zip(self.agents, self._cpu_s(), before, strict=True)
        return Sample(tokens_per_s, {agent.name: round(after - earlier, 2) for agent, after, earlier in ends})


@asynccontextmanager
async def mesh_home(setting: MeshSetting, link: Link) -> AsyncIterator[MeshHome]:
    """Start the agents, agent i on core i, and have them load the model; afterwards none is left."""
    library = DiskLibrary(ModelStore(setting.data_dir))
    prompts = Prompts(await library.codec(setting.model), random.Random(secrets.randbits(64)))
    spec = await library.spec(setting.model)
    devices = _devices(Demand(spec, Precision.INT4, min(_CONTEXT, spec.context_length)), setting)
    addresses = {device.name: free_address() for device in devices}
    name = f"bench-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        hops = _hops(addresses)
        doors = await stack.enter_async_context(shaped(link, hops))
        ways = dict(zip([(hop.source, str(hop.address)) for hop in hops], map(str, doors), strict=True))
        agents = [
            await stack.enter_async_context(running(_agent(device, setting, name, _View(addresses, ways))))
            for device in devices
        ]
        async with mesh.connect(str(await _met(doors[0], name, agents)), mesh=name) as client:
            plan = await _load(client, setting)
        yield MeshHome(setting.model, name, tuple(agents), doors[0], plan, prompts)


@dataclass(frozen=True, slots=True)
class _View:
    """Where devices listen, by name, and by which way each reaches each."""

    addresses: dict[str, Address]
    ways: dict[tuple[str, str], str]

    def of(self, name: str) -> dict[str, str]:
        """Where a device dials the others, by where they listen."""
        return {listens: door for (source, listens), door in self.ways.items() if source == name}


def _devices(demand: Demand, setting: MeshSetting) -> tuple[DemoDevice, ...]:
    """Equal devices that hold the model together and not with one fewer, with room for every user's cache.

    That room is kept spare: plans leave it free, so that it does not tempt them to use fewer devices.
    """
    names = [f"device-{index + 1}" for index in range(setting.num_devices)]
    devices = with_limits(tuple(DemoDevice(name, DeviceClass.DESKTOP) for name in names), demand)
    caches = setting.num_users * demand.spec.cache_bytes(demand.spec.whole, demand.context, demand.precision)
    return tuple(
        DemoDevice(device.name, device.device_class, device.memory_bytes + caches, caches)
        for device in devices
    )


def _hops(addresses: dict[str, Address]) -> list[Hop]:
    """The client's way to the first device, and every device's way to every other."""
    (first, at), *_ = addresses.items()
    pairs = permutations(addresses, 2)
    return [Hop("client", first, at), *(Hop(source, target, addresses[target]) for source, target in pairs)]


def _agent(device: DemoDevice, setting: MeshSetting, mesh_name: str, view: _View) -> Command:
    index = list(view.addresses).index(device.name)
    ways = view.of(device.name)
    options = {
        "--name": device.name,
        "--class": device.device_class.value,
        "--memory": str(device.memory_bytes),
        "--spare": str(device.spare_bytes),
        "--threads": "1",
        "--mesh": mesh_name,
        "--data-dir": str(setting.data_dir),
        "--listen": str(view.addresses[device.name]),
    }
    words = [word for pair in options.items() for word in pair]
    peers = [word for listens in ways for word in ("--peer", listens)]
    flags = ("--until-eof", "--ignore-conditions", "--no-probe")
    command = (sys.executable, "-m", "benchmarks.beside.agent", "up", *flags)
    return Command(device.name, (*command, *words, *peers), core_of(index), {WAYS: json.dumps(ways)})


async def _met(door: Address, mesh_name: str, agents: Sequence[Running]) -> Address:
    """Wait until all agents are alive in the eyes of the first; raise NoDevices after a minute."""
    try:
        async with asyncio.timeout(_WHOLE_S):
            while not await _are_met(door, mesh_name, len(agents)):
                for agent in agents:
                    agent.check()
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise NoDevices(f"{len(agents)} agents did not meet within {_WHOLE_S:g} s") from None
    return door


async def _are_met(door: Address, mesh_name: str, num_devices: int) -> bool:
    try:
        async with mesh.connect(str(door), mesh=mesh_name) as client:
            devices = await client.devices()
    except MeshError:
        return False
    alive = [one for one in devices if one.state is NodeState.ALIVE and one.status is not None]
    return len(alive) == num_devices


async def _load(client: Client, setting: MeshSetting) -> Plan:
    """Have every stage loaded by a short answer, and return where they lie."""
    answer = client.chat("Hello.", model=setting.model, max_tokens=8)
    await answer.text()
    num_stages = len(answer.route.stages) if answer.route is not None else 0
    if answer.route is None or num_stages != setting.num_devices:
        raise InternalError(f"the model lies on {num_stages} devices, not on {setting.num_devices}")
    return answer.route
