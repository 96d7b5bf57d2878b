"""What a gateway knows of the nodes: who may hold stages, as candidates for a plan, and who are gateways too.

Owns which nodes are asked at all: those that are there, stay, have the model, and can be relied on. Must not
know what is planned.
"""

from __future__ import annotations

from collections.abc import Callable

from mesh.logic.capacity import Candidate
from mesh.now import now_s
from mesh.roles.roster import Roster
from mesh.types import Device, ModelRef, NodeId, NodeRecord, NodeState, Plan

_MISTRUST_S = 30.0  # so long a node that took work and did not do it gets no new plan

_OTHER_GATEWAYS = 4  # that a client is told of: each further one helps only where four are gone at once

_PRESENT = (NodeState.ALIVE, NodeState.SUSPECT)


class Survey:
    """The nodes of a mesh as candidates, seen by one of them."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._mistrusted_s: dict[NodeId, float] = {}

    def mistrust(self, node_id: NodeId) -> None:
        """A node lives, but does not do its work."""
        self._mistrusted_s[node_id] = now_s()

    def for_plans(
        self, model: ModelRef, *, is_strict: bool = True, with_late: bool = False
    ) -> list[Candidate]:
        """Those that a new plan may use; unless it is strict, also those that should rest.

        Those that are late at this moment are most likely there, but may be about to be declared lost.
        """
        return [
            _candidate(device)
            for device in self._fit(model)
            if (with_late or device.state is NodeState.ALIVE)
            and device.kept_out is None
            and not (is_strict and self._should_rest(device))
        ]

    def for_recovery(
        self, model: ModelRef, doubts: Callable[[NodeId], int], *, with_leaving: bool = False
    ) -> list[Candidate]:
        """Those that an answer under way may use: it keeps what it has, and doubtful nodes come last."""
        return [
            _candidate(device, doubts(device.record.node_id) + self._general_doubts(device))
            for device in self._fit(model)
            if with_leaving or _stays(device)
        ]

    def unsteady(self) -> tuple[str, ...]:
        """Name the nodes that are kept out of plans because they come and go, each with what it did."""
        return tuple(f"{d.record.name} {d.kept_out}" for d in self._roster.devices() if d.kept_out)

    def other_gateways(self, own: NodeId, plan: Plan) -> tuple[NodeRecord, ...]:
        """The nodes that the client of an answer could ask instead of us, those of its route first.

        They have the model's file, for without it nobody reads a prompt.
        """
        held = {stage.node.node_id for stage in plan.stages}
        others = [
            device.record
            for device in self._fit(plan.model)
            if device.record.node_id != own and device.state is NodeState.ALIVE and _stays(device)
        ]
        others.sort(key=lambda record: record.node_id not in held)
        return tuple(others[:_OTHER_GATEWAYS])

    def suspects(self) -> tuple[NodeId, ...]:
        """Nodes whose link broke, or that are late, at this moment."""
        return tuple(d.record.node_id for d in self._roster.devices() if d.state is NodeState.SUSPECT)

    def leaving(self) -> tuple[NodeId, ...]:
        """Nodes that have said that others should take over what they hold."""
        return tuple(d.record.node_id for d in self._roster.devices() if d.status and d.status.leaving)

    def seems_alive(self, node_id: NodeId) -> bool:
        """Whether nothing is known against a node at this moment."""
        devices = (d for d in self._roster.devices() if d.record.node_id == node_id)
        return any(device.state is NodeState.ALIVE for device in devices)

    def _fit(self, model: ModelRef) -> list[Device]:
        return [
            device
            for device in self._roster.devices()
            if device.state in _PRESENT and device.status is not None and model in device.status.models
        ]

    def _should_rest(self, device: Device) -> bool:
        return self._is_mistrusted(device.record.node_id) or not _stays(device)

    def _general_doubts(self, device: Device) -> int:
        doubts = [
            device.state is NodeState.SUSPECT,
            not _stays(device),
            device.kept_out is not None,
            self._is_mistrusted(device.record.node_id),
        ]
        return sum(doubts)

    def _is_mistrusted(self, node_id: NodeId) -> bool:
        since_s = self._mistrusted_s.get(node_id)
        return since_s is not None and now_s() - since_s < _MISTRUST_S


def _stays(device: Device) -> bool:
    return device.status is not None and device.status.leaving is None


def _candidate(device: Device, doubts: int = 0) -> Candidate:
    status = device.status
    assert status is not None
    return Candidate(
        node=device.record,
        memory_bytes=status.memory_bytes,
        spare_bytes=status.spare_bytes,
        used_bytes=status.used_bytes - status.parked_bytes,
        stages=status.stages,
        doubts=doubts,
        speed=status.speed,
    )
