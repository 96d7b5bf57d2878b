"""One virtual device: an agent that starts, ends and starts again on hardware that stays.

Owns the device's lives. Each makes the production node anew from its parts, as a process would. Must not know
why anything befalls it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial

from mesh.config import Timing
from mesh.messages import PROTOCOL
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.spec import ModelSpec
from mesh.types import NodeId, NodeRecord, ProtocolVersion, SessionId, StageKey
from simulator.compute import ComputedFrame, ModelledCompute
from simulator.devices.conditions import VirtualConditions
from simulator.devices.processor import Processor
from simulator.handles import STANDSTILL, Standstill
from simulator.loop import VirtualLoop
from simulator.network.discovery import VirtualMdns
from simulator.network.hosts import Host
from simulator.network.network import VirtualNetwork
from simulator.network.transport import VirtualTransport
from simulator.parts import Parts
from simulator.profiles import device_profile
from simulator.result import DeviceRecord
from simulator.script import DeviceScript
from simulator.speedometer import VirtualSpeedometer
from simulator.trace import Kind, Trace

PORT = 7070
"""Where every virtual agent listens."""


@dataclass(slots=True, eq=False)
class Life:
    """From a start of a device's agent to its end."""

    device: str
    task: asyncio.Task[None] | None = None
    is_over: bool = False
    """Set when it ends against its will; what its tasks still say is of no interest."""
    stop: Callable[[], None] = lambda: None
    """Asks the node to leave."""
    is_leaving: bool = False
    then: Callable[[], None] = lambda: None
    """What its owner does when it has left."""


LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)
"""In whose life some code runs."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all devices of a run have in common."""

    loop: VirtualLoop
    tasks: asyncio.TaskGroup
    network: VirtualNetwork
    mdns: VirtualMdns
    trace: Trace
    parts: Parts
    timing: Timing
    failed: Callable[[str, BaseException], None]
    """Told of an exception that ended a device's node."""
    memory_grew: Callable[[VirtualDevice], None]
    """Told when a device holds more than ever before."""
    is_over: Callable[[], bool]
    """Whether the run has ended: then nothing starts any more."""


class VirtualDevice:
    """One device of a script."""

    def __init__(self, script: DeviceScript, host: Host, around: Surroundings) -> None:
        self.script = script
        self.host = host
        profile = device_profile(script.profile)
        host.message_overhead_s = profile.message_overhead_s
        self.processor = Processor(profile, battery_level=script.battery_level)
        self.conditions = VirtualConditions(self.processor, around.loop.time)
        self.compute: ModelledCompute | None = None
        """Of the life that is lived now."""
        self._node: Node | None = None
        self.peak_memory_bytes = 0
        self._around = around
        self._life: Life | None = None
        self._incarnation = 0
        self._num_disks = 1
        self._has_models = True

    @property
    def name(self) -> str:
        """Its name in the script."""
        return self.script.name

    @property
    def is_running(self) -> bool:
        """Whether its agent runs, maybe standing still."""
        return self._life is not None

    @property
    def is_paused(self) -> bool:
        """Whether its agent stands still."""
        return self.host.standstill.is_still

    @property
    def held_sessions(self) -> tuple[SessionId, ...]:
        """Whose caches its agent holds, those aside that it would give up for whoever needs the room."""
        if self.compute is None or self._node is None:
            return ()
        parked = self._node.parked
        return tuple(session_id for session_id in self.compute.sessions if session_id not in parked)

    @property
    def memory_used_bytes(self) -> int:
        """What its agent holds now."""
        return self.compute.memory_bytes if self.compute is not None else 0

    @property
    def node_id(self) -> NodeId:
        """The id of its node: kept between starts, until it loses its disk."""
        text = f"{self.script.mesh}/{self.script.lan}/{self.name}/{self._num_disks}"
        return NodeId(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())

    @property
    def version(self) -> ProtocolVersion:
        """Of the protocol that it speaks."""
        return ProtocolVersion(*self.script.version) if self.script.version else PROTOCOL

    def start(self, *, keeps_disk: bool = True) -> None:
        """Start its agent; does nothing where it runs. One that is leaving starts again when it has left."""
        if self._life is not None and self._life.is_leaving:
            self._life.then = partial(self.start, keeps_disk=keeps_disk)
        if self._around.is_over() or self._life is not None or self._is_empty:
            return
        if not keeps_disk:
            self._num_disks += 1
            self._has_models = False
        self._incarnation += 1
        self.processor.switch(self._now_s(), is_on=True)
        self.host.is_on = True
        self.host.standstill = Standstill()
        self._around.network.look_again()
        self._life = life = Life(self.name)
        context = copy_context()
        context.run(STANDSTILL.set, self.host.standstill)
        context.run(LIFE.set, life)
        self._note(Kind.STARTED, incarnation=self._incarnation)
        life.task = self._around.tasks.create_task(self._live(life), context=context)

    @property
    def _is_empty(self) -> bool:
        return self.processor.state(self._now_s()).is_dead

    def leave(self) -> None:
        """Have its owner stop the agent, which hands over what it holds and says goodbye."""
        if self._life is not None:
            self._life.is_leaving = True
            self._life.stop()

    def crash(self) -> None:
        """End its agent at once; its system stays and tells the peers."""
        self._end("crashed", is_told=True)

    def power_off(self) -> None:
        """Take the device away without a word."""
        self.processor.switch(self._now_s(), is_on=False)
        self.host.is_on = False
        self._end("power_off", is_told=False)

    def pause(self) -> None:
        """Have its agent stand still."""
        if self._life is not None and not self.is_paused:
            self._around.loop.pause(self.host.standstill)
            self._note(Kind.PAUSED)

    def wake(self) -> None:
        """Have its agent go on."""
        if self.is_paused:
            self._around.loop.wake(self.host.standstill)
            self._note(Kind.WOKEN)

    def record(self) -> DeviceRecord:
        """Sum up what it did."""
        state = self.processor.state(self._now_s())
        return DeviceRecord(
            name=self.name,
            busy_s=state.busy_s,
            peak_memory_bytes=self.peak_memory_bytes,
            energy_j=state.energy_j,
            battery_level=state.battery_level,
            sent_bytes=sum(num_bytes for to, (_, num_bytes) in self.host.sent.items() if to is not self.host),
            received_bytes=self._around.network.received_bytes(self.host),
        )

    def node_record(self) -> NodeRecord:
        """What its node tells about itself."""
        return NodeRecord(
            node_id=self.node_id,
            name=self.name,
            device_class=self.processor.profile.device_class,
            address=self.host.at(PORT),
            mesh=self.script.mesh,
            version=self.version,
            incarnation=self._incarnation,
        )

    # The observer of its compute

    def loaded(self, began_s: float, key: StageKey, num_bytes: int) -> None:
        """A span has come into memory."""
        self._memory_changed()
        self._note(
            Kind.LOADED,
            began_s=began_s,
            model=key.digest[:12],
            span_start=key.span.start,
            span_end=key.span.end,
            bytes=num_bytes,
        )

    def computed(self, frame: ComputedFrame) -> None:
        """A frame has gone through a stage."""
        self.conditions.worked()
        self._memory_changed()
        self._note(
            Kind.COMPUTED,
            began_s=frame.began_s,
            session=frame.session_id,
            span_start=frame.key.span.start,
            span_end=frame.key.span.end,
            position=frame.position,
            rows=frame.num_rows,
        )

    def _memory_changed(self) -> None:
        used_bytes = self.memory_used_bytes
        if used_bytes > self.peak_memory_bytes:
            self.peak_memory_bytes = used_bytes
            self._around.memory_grew(self)

    async def _live(self, life: Life) -> None:
        try:
            await self._run_node(life)
        except Exception as error:
            if not life.is_over:
                self._around.failed(self.name, error)
        finally:
            if self._life is life:
                self._end("left", is_told=True)
                life.then()

    async def _run_node(self, life: Life) -> None:
        around, specs = self._around, self._specs()
        transport = VirtualTransport(around.network, self.host)
        listener = await transport.listen(self.host.at(PORT))
        discovery = around.mdns.discovery(self.host)
        maths = around.parts.maths(specs)
        self.compute = compute = ModelledCompute(specs, self.processor, maths, observer=self)
        library = around.parts.library(specs)
        is_measured = self.script.is_measured and bool(specs)
        speedometer = VirtualSpeedometer(self.processor.profile, specs[0]) if is_measured else None
        ports = Ports(transport, discovery, compute, library, self.conditions, speedometer)
        settings = NodeSettings(self.script.memory_bytes, timing=around.timing)
        node = self._node = around.parts.node(self.node_record(), listener, ports, settings)
        life.stop = node.stop
        await node.run()

    def _specs(self) -> tuple[ModelSpec, ...]:
        return self._around.parts.specs(self.script.models if self._has_models else ())

    def _end(self, how: str, *, is_told: bool) -> None:
        """End the life that is lived: nothing that it still does can be seen from outside."""
        life, self._life = self._life, None
        if life is None:
            return
        around = self._around
        life.is_over = True
        around.network.end_life(self.host, is_told=is_told)
        around.mdns.forget(self.host)
        self.compute = self._node = None
        around.loop.wake(self.host.standstill)  # or its tasks could not even be cancelled
        if life.task is not None and how != "left":
            life.task.cancel()
        self._note(Kind.STOPPED, how=how)

    def _note(self, kind: Kind, **details: str | int | float) -> None:
        self._around.trace.add(self._now_s(), kind, self.name, **details)

    def _now_s(self) -> float:
        return self._around.loop.time()
