"""A household that lives: everything that a script names, put together.

Owns the parts of one run and what is seen of them. Must not decide when a run ends; that is `simulator.run`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mesh.client import Client
from mesh.errors import PeerUnreachable
from mesh.link import Link, open_link
from mesh.messages import Hello
from mesh.types import Address, NodeState, Precision
from simulator.asking import Asked, Asker
from simulator.claims import Invariant
from simulator.devices.device import LIFE, PORT, Surroundings, VirtualDevice
from simulator.draining import Drains
from simulator.faults import Faults
from simulator.invariants import Invariants, longest_silence_s
from simulator.loop import VirtualLoop
from simulator.network.discovery import VirtualMdns
from simulator.network.network import VirtualNetwork
from simulator.network.transport import VirtualTransport
from simulator.parts import Parts
from simulator.promises import Household
from simulator.result import Complaint, DeviceRecord, Flow, RequestRecord
from simulator.script import FaultKind, Script
from simulator.trace import Kind, Trace

_ROSTER = "mesh.roles.roster"  # says of whom it hears no more
_HOSTS_BASE = 10 << 24  # addresses from 10.0.0.1 on (RFC 1918)


class World:
    """One run's devices, network, faults and requests."""

    def __init__(self, script: Script, parts: Parts, loop: VirtualLoop, tasks: asyncio.TaskGroup) -> None:
        self.script = script
        self.loop = loop
        self.trace = Trace([device.name for device in script.devices], keeps_messages=script.keeps_messages)
        self.complaints: list[Complaint] = []
        self.over = asyncio.Event()
        """Set when there is no use in going on."""
        self.invariants = Invariants(script, parts, loop.time, self.complain)
        self._tasks = tasks
        self._is_closed = False
        self._network = VirtualNetwork(str(script.seed), observer=self.trace.message)
        self._around = Surroundings(
            loop=loop,
            tasks=tasks,
            network=self._network,
            mdns=VirtualMdns(self._network),
            trace=self.trace,
            parts=parts,
            timing=script.timing,
            failed=self.role_failed,
            memory_grew=self.invariants.memory,
            is_over=lambda: self._is_closed,
        )
        self.devices = self._make_devices()
        drains = Drains(self.open_client, tasks, self.trace, loop.time)
        self.faults = Faults(loop, self._network, self.devices, self.trace, drains)
        self.requests = [Asked(request) for request in script.requests]
        self._asker = Asker(self.open_client, loop.time, self.trace, script.duration_s, self.invariants)
        self.invariants.silence_s = longest_silence_s(script.timing, self._longest_load_s(parts))

    def begin(self) -> None:
        """Start what the script starts, have the faults come and the requests be asked."""
        for device in self.devices.values():
            self.loop.at(device.script.starts_s, device.start)
        self.faults.schedule(self.script.faults)
        for asked in self.requests:
            self._tasks.create_task(self._ask(asked))

    def close(self) -> None:
        """Take everybody's power away, at the end of a run."""
        self._is_closed = True
        for device in self.devices.values():
            device.power_off()

    def household(self) -> Household:
        """Return what promises look at."""
        return Household(list(self.devices.values()), self.requests, self.open_client, self.loop.time)

    def complain(self, complaint: Complaint) -> None:
        """Note what does not hold, once for each invariant; the run is over."""
        if all(complaint.name != known.name for known in self.complaints):
            self.complaints.append(complaint)
            self.trace.add(complaint.at_s, Kind.BROKEN, invariant=complaint.name, text=complaint.text)
        self.over.set()

    def look(self) -> None:
        """See how everybody is: invariants, batteries, and a line for each device in the record."""
        devices = list(self.devices.values())
        self.invariants.look(self.requests, devices)
        for device in devices:
            state = device.processor.state(self.loop.time())
            if state.is_dead and device.is_running:
                device.power_off()
            if self.script.keeps_messages:
                self.trace.add(
                    self.loop.time(),
                    Kind.SAMPLED,
                    device.name,
                    memory_used_bytes=device.memory_used_bytes,
                    battery=state.battery_level,
                    degrees_c=state.degrees_c,
                    heat=state.heat.value,
                    sessions=len(device.held_sessions),
                )

    async def open_client(self, name: str) -> Client:
        """Return a client on a device, of that device's gateway."""
        device = self.devices[name]
        if not device.is_running:
            raise PeerUnreachable(f"no agent runs on {name}; start it and ask again")
        hello = Hello(device.version, device.script.mesh, None)

        async def open_at(address: Address) -> Link:
            transport = VirtualTransport(self._network, device.host)  # an app outlives its device's agent
            return await open_link(transport, address, hello, self.script.timing.dial_s)

        return Client(
            device.node_record(),
            lambda: open_at(device.host.at(PORT)),
            random.Random(0),
            open_node=lambda record: open_at(record.address),
        )

    def request_records(self) -> tuple[RequestRecord, ...]:
        """Return what became of each request that was asked."""
        return tuple(asked.record() for asked in self.requests if asked.num_attempts)

    def device_records(self) -> tuple[DeviceRecord, ...]:
        """Return what each device did."""
        return tuple(device.record() for device in self.devices.values())

    def flows(self) -> tuple[Flow, ...]:
        """Return what passed between devices, and not what stayed on one."""
        return tuple(
            Flow(source.name, target.name, num_messages, num_bytes)
            for source in (device.host for device in self.devices.values())
            for target, (num_messages, num_bytes) in source.sent.items()
            if target is not source and num_messages
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of what roles log, and of their exceptions, for as long as the run lasts."""
        logger, ears = logging.getLogger("mesh"), _Ears(self)
        before = logger.level, logger.propagate
        logger.addHandler(ears)
        hears_all = self.script.keeps_messages or Invariant.NO_FALSE_DEATH in self.script.always
        logger.setLevel(logging.INFO if hears_all else logging.WARNING)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(ears)
            logger.setLevel(before[0])
            logger.propagate = before[1]

    def declared_lost(self, viewer: str, target: str) -> None:
        """A device takes another for lost."""
        if viewer in self.devices and target in self.devices:
            self.invariants.declared_lost(self.devices[viewer], self.devices[target])

    def role_failed(self, device: str, error: BaseException) -> None:
        """An exception that is none of the mesh's left a role."""
        lines = "".join(traceback.format_exception(error))
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = f"{type(error).__name__} in a role of {device}: {error}"
        self.invariants.broken(Invariant.NO_ROLE_FAILED, text, type(error).__name__, lines)

    def _make_devices(self) -> dict[str, VirtualDevice]:
        for lan in self.script.lans:
            self._network.add_lan(lan.name, lan.radio)
        devices = {}
        for number, script in enumerate(self.script.devices, 1):
            host = self._network.add_host(script.name, _address(number), script.lan, script.link)
            devices[script.name] = VirtualDevice(script, host, self._around)
        for path in self.script.paths:
            self._network.add_path(path)
        return devices

    async def _ask(self, asked: Asked) -> None:
        try:
            await self._asker.ask(asked)
        except Exception as error:
            self.role_failed(f"a client on {asked.script.device}", error)

    def _longest_load_s(self, parts: Parts) -> float:
        slowest = max((f.amount for f in self.script.faults if f.kind is FaultKind.SLOW), default=1.0)
        return slowest * max(
            (
                device.processor.load_seconds(spec.weights_bytes(spec.whole, Precision.INT4))
                for device in self.devices.values()
                for spec in parts.specs(device.script.models)
            ),
            default=0.0,
        )


class _Ears(logging.Handler):
    """Hears what roles log; what a life says that is over is of no interest."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        life = LIFE.get()
        if life is not None and life.is_over:
            return
        name, world = life.device if life else "", self._world
        if record.exc_info and record.exc_info[1] is not None:
            world.role_failed(name, record.exc_info[1])
        if record.name == _ROSTER and isinstance(record.args, tuple) and NodeState.LOST in record.args:
            world.declared_lost(name, str(record.args[0]))
        if record.levelno < logging.WARNING and not world.script.keeps_messages:
            return
        world.trace.add(
            world.loop.time(),
            Kind.LOGGED,
            name,
            level=record.levelname.lower(),
            logger=record.name,
            text=record.getMessage(),
        )


def _address(number: int) -> str:
    whole = _HOSTS_BASE + number
    return ".".join(str(whole >> shift & 255) for shift in (24, 16, 8, 0))
