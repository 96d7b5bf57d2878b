"""Which devices a demo has, and how little memory each may use.

Owns the choice of memory limits: such that the model fits on all devices together and on none alone.
Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mesh.errors import BadSetting
from mesh.logic.partition import Candidate, Demand, spread
from mesh.messages import PROTOCOL
from mesh.types import Address, DeviceClass, NodeId, NodeRecord

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

_ROOM = 1.5
"""Memory of all devices against the model's need while layers are dealt out; then each gets what it needs."""


@dataclass(frozen=True, slots=True)
class DemoDevice:
    """One device of the demo."""

    name: str
    device_class: DeviceClass
    memory_bytes: int = 0


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
    total = sum(_RELATIVE_MEMORY[device.device_class] for device in devices)
    unit = _ROOM * demand.whole_bytes / total
    candidates = [
        Candidate(_stand_in(index, device), round(unit * _RELATIVE_MEMORY[device.device_class]))
        for index, device in enumerate(devices)
    ]
    plan = spread(demand, candidates)
    slack = demand.layer_bytes // (2 * len(devices))
    need = {stage.node.node_id: stage.weights_bytes + stage.cache_bytes + slack for stage in plan.stages}
    return tuple(
        DemoDevice(device.name, device.device_class, need[candidate.node.node_id])
        for device, candidate in zip(devices, candidates, strict=True)
    )


def _stand_in(index: int, device: DemoDevice) -> NodeRecord:
    return NodeRecord(
        node_id=NodeId(f"{index:032x}"),
        name=device.name,
        device_class=device.device_class,
        address=Address("127.0.0.1", 1),
        mesh="demo",
        version=PROTOCOL,
        incarnation=1,
    )
