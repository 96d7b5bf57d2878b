"""Process mode: a script acted out by real agents, with real clients and real faults.

Owns the agents of one run from start to end: their addresses, their lives and what befalls them. Whatever
happens here, no process is left. Must not know what is asked, nor what is judged.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.client import Client
from mesh.errors import MeshError, NoDevices, PeerUnreachable, first_of
from mesh.gateways import Reached, Way
from mesh.link import Link, open_link
from mesh.messages import PROTOCOL, Hello
from mesh.types import Address, NodeId, NodeRecord, NodeState
from simulator.profiles import DeviceProfile, device_profile
from simulator.real.control import AgentSettings, Control, EngineKind, Report, Routes, agent_record
from simulator.real.paths import paths_of
from simulator.real.processes import AgentProcess
from simulator.real.shaper import Shaper
from simulator.script import DeviceScript, Script

_MEET_S = 60.0  # for processes to start, import torch and find each other on a busy machine
_LOOK_S = 0.05  # between looks at who is there


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How a script is acted out."""

    data_dir: Path
    """Where the models lie."""
    engine: EngineKind = EngineKind.TORCH
    is_throttled: bool = True
    profile: Callable[[str], DeviceProfile] = device_profile


class Household:
    """The agents of a run. Made by `running_household`."""

    def __init__(
        self, script: Script, options: ProcessOptions, shaper: Shaper, tasks: asyncio.TaskGroup, logs: Path
    ) -> None:
        self.script = script
        self.shaper = shaper
        self._options = options
        self._tasks = tasks
        self._logs = logs
        self._suffix = secrets.token_hex(4)
        self._devices = {device.name: device for device in script.devices}
        self._lives: dict[str, list[AgentProcess]] = {name: [] for name in self._devices}
        self._starting = {name: asyncio.Lock() for name in self._devices}

    def reports(self, name: str) -> tuple[Report, ...]:
        """The last words of each of a device's lives; one that was killed had none."""
        return tuple(agent.report for agent in self._lives[name] if agent.report is not None)

    def running(self, name: str) -> AgentProcess | None:
        """A device's process, if it has one now."""
        last = self._lives[name][-1] if self._lives[name] else None
        return last if last is not None and last.is_running and not last.is_meant_to_end else None

    def find(self, name: str) -> Address | None:
        """Where a device's agent listens now."""
        agent = self.running(name)
        return agent.address if agent is not None else None

    async def open_client(self, name: str) -> Client:
        """A client on a device, of that device's own gateway; raises PeerUnreachable where none runs."""
        return self._client(name, ())

    async def open_app(self, name: str) -> Client:
        """As `open_client`; where its gateway does not answer it asks the other devices of its mesh."""
        others = [other for other in self._devices if other != name and self.can_meet(name, other)]
        return self._client(name, [self._way(name, other) for other in others])

    def _client(self, name: str, ways: Sequence[Way]) -> Client:
        own = self._record(name)
        rng = random.Random(f"{self.script.seed}/client/{name}")
        return Client(own, partial(self._dial, name, own), rng, partial(self._dial, name), ways)

    def _way(self, viewer: str, name: str) -> Way:
        async def reach(_: Collection[NodeId]) -> Reached:
            record = self._record(name)
            opened = partial(self._dial, viewer, record)
            return Reached(record, await opened(), opened)

        return Way(name, reach)

    async def _dial(self, viewer: str, record: NodeRecord) -> Link:
        """Open a client's link from one device to the agent of another, or to its own."""
        way = self.shaper.open(viewer, record.name, record.address)
        if way is None:
            raise PeerUnreachable(f"no path leads from {viewer} to {record.name}")
        hello = Hello(PROTOCOL, self.mesh_of(viewer), None)
        return await open_link(GrpcTransport(), way, hello, self.script.timing.dial_s)

    def _record(self, name: str) -> NodeRecord:
        agent = self.running(name)
        if agent is None or agent.address is None:
            raise PeerUnreachable(f"no agent runs on {name}")
        return agent_record(agent.settings, agent.address)

    def mesh_of(self, name: str) -> str:
        """The name of a device's mesh, which is this run's own: no real device is drawn in."""
        return f"{self._devices[name].mesh}-{self._suffix}"

    async def start(self, name: str) -> None:
        """Start a device's agent, and tell everybody how to reach it; does nothing where it runs."""
        async with self._starting[name]:
            if self.running(name) is None:
                await self._start(name)

    async def _start(self, name: str) -> None:
        agent = await AgentProcess.start(self._settings(self._devices[name]), self._logs / f"{name}.log")
        self._lives[name].append(agent)
        self._tasks.create_task(agent.listen())
        address = await agent.listening()
        if address is None:
            return
        others = {other: found for other in self._devices if other != name and (found := self.find(other))}
        for other in others:
            self.tell(other, self._routes(other, {name: address}))
        agent.tell(self._routes(name, others))

    async def stop(self, name: str) -> None:
        """Have a device's agent leave; does nothing where none runs."""
        if (agent := self.running(name)) is not None:
            await agent.stop()

    async def kill(self, name: str) -> None:
        """End a device's agent at once; does nothing where none runs."""
        if (agent := self.running(name)) is not None:
            await agent.kill()

    def pause(self, name: str, *, is_paused: bool) -> None:
        """Have a device's process stand still, or go on."""
        if (agent := self.running(name)) is not None:
            agent.signal(signal.SIGSTOP if is_paused else signal.SIGCONT)

    def tell(self, name: str, order: Control) -> None:
        """Give a device an order."""
        if (agent := self.running(name)) is not None:
            agent.tell(order)

    async def meet(self) -> None:
        """Start what is there from the beginning and wait until all have met; raise NoDevices."""
        names = [device.name for device in self.script.devices if device.starts_s <= 0]
        try:
            async with asyncio.timeout(_MEET_S):
                for name in names:
                    await self.start(name)
                for name in names:
                    await self._lives[name][-1].ready()
                    await self._see_all(name, {other for other in names if self.can_meet(name, other)})
        except TimeoutError as error:
            raise NoDevices(f"{', '.join(names)} did not all meet within {_MEET_S:g} s") from error

    async def close(self) -> None:
        """End every process, in order where time is left for that, and in any case."""
        agents = [agent for lives in self._lives.values() for agent in lives if agent.is_running]
        try:
            async with asyncio.TaskGroup() as ending:
                for agent in agents:
                    ending.create_task(agent.stop())
        finally:
            for agent in agents:
                agent.kill_now()

    async def _see_all(self, name: str, expected: set[str]) -> None:
        client = await self.open_client(name)
        while True:
            devices = await client.devices()
            if expected <= {d.record.name for d in devices if d.state is NodeState.ALIVE}:
                return
            await asyncio.sleep(_LOOK_S)

    def can_meet(self, name: str, other: str) -> bool:
        """Whether devices have a path, are of one mesh and understand each other; each can meet itself."""
        one, two = self._devices[name], self._devices[other]
        has_path = name == other or (name, other) in self.shaper.paths
        return has_path and one.mesh == two.mesh and one.version == two.version

    def _routes(self, viewer: str, others: dict[str, Address]) -> Routes:
        ways = {str(address): self.shaper.open(viewer, name, address) for name, address in others.items()}
        return Routes({end: None if way is None else str(way) for end, way in ways.items()})

    def _settings(self, device: DeviceScript) -> AgentSettings:
        rng = random.Random(f"{self.script.seed}/node/{device.name}")
        return AgentSettings(
            name=device.name,
            mesh=self.mesh_of(device.name),
            node_id=f"{rng.getrandbits(128):032x}",
            incarnation=len(self._lives[device.name]) + 1,
            memory_bytes=device.memory_bytes,
            models=device.models,
            data_dir=str(self._options.data_dir),
            profile=self._options.profile(device.profile),
            engine=self._options.engine,
            is_throttled=self._options.is_throttled,
            version=device.version,
            battery_level=device.battery_level,
            timing=self.script.timing,
        )


@asynccontextmanager
async def running_household(script: Script, options: ProcessOptions) -> AsyncIterator[Household]:
    """Start agents that have met; afterwards none is left.

    Raises MeshError where they cannot be started or do not meet, and where one ends by itself.
    """
    paths = paths_of(script, options.profile)
    try:
        with tempfile.TemporaryDirectory(prefix="mesh-sim-") as logs, Shaper(paths) as shaper:
            async with asyncio.TaskGroup() as tasks:
                household = Household(script, options, shaper, tasks, Path(logs))
                try:
                    await household.meet()
                    yield household
                finally:
                    await household.close()
    except* MeshError as group:
        raise first_of(group) from None
