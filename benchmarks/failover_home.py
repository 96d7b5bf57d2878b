"""Three agents that can be killed, frozen and brought back while they answer; the ground of `failover`.

Owns the agents of one home, and what it means that the home is whole: everybody sees everybody, nobody holds
a session, and where there are to be warm copies, they are loaded. Must not know what is measured.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import mesh
from mesh.adapters.disk_library import DiskLibrary
from mesh.client import Client
from mesh.config import Planning
from mesh.errors import MeshError, NoDevices
from mesh.logic.partition import Demand
from mesh.store.shelf import ModelStore
from mesh.types import Device, NodeState, Plan, Precision, Standby
from nodes.demo.household import DemoDevice, parse_devices, with_limits, with_spare
from nodes.demo.processes import AgentChoices, AgentProcess, running_agents
from nodes.options import DEFAULT_MODEL, default_data_dir

_WHOLE_S = 30.0  # for a process to start, import torch and be found on a busy machine
_LOOK_S = 0.05  # between looks

View: TypeAlias = dict[str, Device]
"""What one device sees, by name."""


@dataclass(frozen=True, slots=True)
class _Agent:
    """One life of a device's agent."""

    process: AgentProcess
    life: AsyncExitStack


class Home:
    """Devices that hold the model together, each with memory to stand in for another. Made by `at_home`."""

    def __init__(self, devices: Sequence[DemoDevice], choices: AgentChoices) -> None:
        self._devices = {device.name: device for device in devices}
        self._choices = choices
        self._agents: dict[str, _Agent] = {}
        self._addresses: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The devices in their order."""
        return tuple(self._devices)

    def after(self, name: str) -> str:
        """The next device in their order; after the last comes the first."""
        return self.names[(self.names.index(name) + 1) % len(self.names)]

    async def start(self, name: str) -> None:
        """Start a device's agent, for the first time or anew."""
        await self._end(name)
        life = AsyncExitStack()
        (process,) = await life.enter_async_context(running_agents((self._devices[name],), self._choices))
        self._agents[name] = _Agent(process, life)

    def kill(self, name: str) -> None:
        """End a device's agent by SIGKILL."""
        self._agents[name].process.kill()

    def freeze(self, name: str) -> None:
        """Have a device's agent stand still (SIGSTOP)."""
        os.kill(self._agents[name].process.pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Have it go on (SIGCONT)."""
        os.kill(self._agents[name].process.pid, signal.SIGCONT)

    def client(self, gateway: str) -> AbstractAsyncContextManager[Client]:
        """A client that asks this device first."""
        return mesh.connect(self._addresses[gateway], mesh=self._choices.mesh_name)

    async def until_whole(self) -> None:
        """Wait until everybody sees everybody alive and holding no session; raise NoDevices after 30 s."""
        await _until(self._is_whole, f"{', '.join(self.names)} are not all alive and idle")

    async def until_warm(self, plan: Plan, client: Client) -> None:
        """Wait until each warm copy of a plan is loaded; raise NoDevices after 30 s."""

        async def is_warm() -> bool:
            return _is_warm(plan, _by_name(await client.devices()))

        await _until(is_warm, "the warm copies are not loaded")

    async def close(self) -> None:
        """End every agent."""
        for name in self.names:
            await self._end(name)

    async def _end(self, name: str) -> None:
        if (agent := self._agents.pop(name, None)) is not None:
            await agent.life.aclose()

    async def _is_whole(self) -> bool:
        seen = await self._look(*self._addresses.values())
        if set(seen) != set(self.names) or not _all_idle(seen):
            return False
        self._addresses = {name: str(device.record.address) for name, device in seen.items()}
        return all([_all_idle(await self._look(address)) for address in self._addresses.values()])

    async def _look(self, *addresses: str) -> View:
        """What the first of some devices that answers sees; without addresses one is discovered."""
        async with mesh.connect(addresses or None, mesh=self._choices.mesh_name) as client:
            return _by_name(await client.devices())


def _by_name(devices: Sequence[Device]) -> View:
    return {device.record.name: device for device in devices}


def _all_idle(view: View) -> bool:
    return all(
        device.state is NodeState.ALIVE and device.status is not None and device.status.num_sessions == 0
        for device in view.values()
    )


def _is_warm(plan: Plan, view: View) -> bool:
    for standby in plan.standbys:
        status = view[standby.node.name].status
        if status is None or plan.key(standby) not in [stage.key for stage in status.stages]:
            return False
    return True


async def _until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Look again and again until something holds; who cannot be asked is asked again."""
    try:
        async with asyncio.timeout(_WHOLE_S):
            while True:
                if await _now(holds):
                    return
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise NoDevices(f"{otherwise} after {_WHOLE_S:g} s") from None


async def _now(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await holds()
    except MeshError:
        return False


@asynccontextmanager
async def at_home(standby: Standby) -> AsyncIterator[Home]:
    """Start a phone, a car and a tv that share the small model; afterwards no process is left."""
    spec = await DiskLibrary(ModelStore(default_data_dir())).spec(DEFAULT_MODEL)
    demand = Demand(spec, Precision.INT4, Planning().context_step)
    devices = with_spare(with_limits(parse_devices("phone,car,tv"), demand), demand)
    choices = AgentChoices(f"bench-{secrets.token_hex(4)}", default_data_dir(), standby)
    home = Home(devices, choices)
    try:
        for name in home.names:
            await home.start(name)
        await home.until_whole()
        yield home
    finally:
        await home.close()
