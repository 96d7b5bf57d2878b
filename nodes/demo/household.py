"""Which devices a demo has, and how little memory each may use.

Owns the choice of memory limits: such that the model fits on all devices together and on none alone, and,
where devices are to be lost, that the others can stand in.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mesh.errors import BadSetting, InsufficientMemory
from mesh.logic.partition import Candidate, Demand, spread
from mesh.messages import PROTOCOL
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, Plan

MAX_DEVICES = 8
"""More processes than this would only wait for each other on one machine."""

_RELATIVE_MEMORY = {
    DeviceClass.WATCH: 2,
    DeviceClass.SPEAKER: 2,
    DeviceClass.FRIDGE: 2,
    DeviceClass.TV: 3,
    DeviceClass.PHONE: 4,
    DeviceClass.HUB: 4,
    DeviceClass.CAR: 5,
    DeviceClass.LAPTOP: 6,
    DeviceClass.DESKTOP: 8,
}
"""What such devices have beside each other, in no unit; the limits are scaled to the model."""

_ROOMS = (1.5, 2.0, 3.0, 5.0, 9.0)
"""Memory of all devices against the model's need while layers are dealt out; then each gets what it needs.

The first that works is taken: beside a large device, small ones need more to hold a table of embeddings.
"""

_PAIR = 2
"""Of two devices, the one that is left must be able to hold all."""


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """One device of the demo."""

    name: str
    device_class: DeviceClass
    memory_bytes: int = 0
    spare_bytes: int = 0
    """Part of the memory that plans leave free."""


def parse_devices(text: str) -> tuple[DemoDevice, ...]:
    """Read `phone,car,tv`: classes, named after themselves; a second phone is phone-2.

    Raises BadSetting naming an unknown class and the known ones, or for too many.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) > MAX_DEVICES:
        raise BadSetting(f"{len(words)} devices are too many for one machine; give at most {MAX_DEVICES}")
    known = [kind.value for kind in DeviceClass]
    seen: Counter[str] = Counter()
    devices = []
    for word in words:
        if word not in known:
            raise BadSetting(f"unknown device class '{word}'; choose from {', '.join(known)}")
        seen[word] += 1
        name = word if seen[word] == 1 else f"{word}-{seen[word]}"
        devices.append(DemoDevice(name, DeviceClass(word)))
    return tuple(devices)


def with_limits(devices: tuple[DemoDevice, ...], demand: Demand) -> tuple[DemoDevice, ...]:
    """Give each device the memory for its share and a little more, but less than for another layer.

    The slack of all devices together is less than one layer, so no fewer of them could hold the model.
    """
    plan = _deal(devices, demand)
    slack = demand.layer_bytes // (2 * len(devices))
    need = {stage.node.node_id: stage.weights_bytes + stage.cache_bytes + slack for stage in plan.stages}
    return tuple(replace(device, memory_bytes=need[_node_id(index)]) for index, device in enumerate(devices))


def _deal(devices: Sequence[DemoDevice], demand: Demand) -> Plan:
    """Deal out the layers in proportion to what such devices have."""
    for room in _ROOMS[:-1]:
        with suppress(InsufficientMemory):
            return spread(demand, _candidates(devices, demand, room))
    return spread(demand, _candidates(devices, demand, _ROOMS[-1]))


def _candidates(devices: Sequence[DemoDevice], demand: Demand, room: float) -> list[Candidate]:
    unit = room * demand.whole_bytes / sum(_RELATIVE_MEMORY[device.device_class] for device in devices)
    return [
        Candidate(_stand_in(index, device), round(unit * _RELATIVE_MEMORY[device.device_class]))
        for index, device in enumerate(devices)
    ]


def with_spare(devices: tuple[DemoDevice, ...], demand: Demand) -> tuple[DemoDevice, ...]:
    """Give each device that has its limit spare memory beside it, to stand in for any other one.

    Plans come out as without it. Of three devices and more, none gets so much that the model would fit on it
    alone. What that takes away is only room beside the other end of the model, where the embeddings would be
    held twice: for each device there is another one with room for its whole share.
    """
    return tuple(_with_spare(device, devices, demand) for device in devices)


def _with_spare(device: DemoDevice, devices: Sequence[DemoDevice], demand: Demand) -> DemoDevice:
    others = [other.memory_bytes for other in devices if other is not device]
    spare_bytes = max(others, default=0)
    if len(devices) > _PAIR:
        spare_bytes = min(spare_bytes, demand.whole_bytes - 1 - device.memory_bytes)
    return replace(device, memory_bytes=device.memory_bytes + spare_bytes, spare_bytes=spare_bytes)


def _node_id(index: int) -> NodeId:
    return NodeId(f"{index:032x}")


def _stand_in(index: int, device: DemoDevice) -> NodeRecord:
    return NodeRecord(
        node_id=_node_id(index),
        name=device.name,
        device_class=device.device_class,
        address=Address("127.0.0.1", 1),
        mesh="demo",
        version=PROTOCOL,
        incarnation=1,
    )
