"""What a gateway knows of the nodes: who may hold stages, as candidates for a plan, and who are gateways too.

Owns which nodes are asked at all: those that are there, stay, have the model, can be relied on, and are not
distrusted. Must not know what is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from mesh.logic.capacity import Candidate
from mesh.logic.correction import Corrections
from mesh.logic.membership import Change
from mesh.now import now_s
from mesh.roles.roster import Roster
from mesh.types import Device, ModelRef, NodeId, NodeRecord, NodeState, Plan

_MISTRUST_S = 30.0  # so long a node that took work and did not do it gets no new plan

_OTHER_GATEWAYS = 4  # that a client is told of: each further one helps only where four are gone at once

_PRESENT = (NodeState.ALIVE, NodeState.SUSPECT)


class Survey:
    """The nodes of a mesh as candidates, seen by one of them."""

    def __init__(self, roster: Roster, *, distrusted: Collection[str] = ()) -> None:
        self._roster = roster
        self._distrusted = distrusted
        """Devices that are never used, as a person names them."""
        self.corrections = Corrections()
        """How far devices are off what they announce."""
        self._mistrusted_s: dict[NodeId, float] = {}

    def distrusts(self, node: NodeRecord) -> bool:
        """Whether the owner of this node wants nothing to do with another."""
        return any(node.is_called(name) for name in self._distrusted)

    def mistrust(self, node_id: NodeId) -> None:
        """A node lives, but does not do its work."""
        self._mistrusted_s[node_id] = now_s()

    def for_plans(
        self,
        model: ModelRef,
        *,
        is_strict: bool = True,
        with_late: bool = False,
        only: NodeId | None = None,
    ) -> list[Candidate]:
        """Those that a new plan may use; unless it is strict, also those that should rest.

        Those that are late at this moment are most likely there, but may be about to be declared lost. Unless
        it is strict, memory that is kept spare is used too, while one that has the model takes nothing new.
        `only`: the one node that may be used; None: all may.
        """
        fit = self._fit(model, only)
        stands_in = not is_strict and any(map(_is_closed, fit))
        return [
            replace(self._candidate(device), spare_bytes=0) if stands_in else self._candidate(device)
            for device in fit
            if (with_late or device.state is NodeState.ALIVE)
            and device.kept_out is None
            and not _is_closed(device)
            and not (is_strict and self._should_rest(device))
        ]

    def for_recovery(
        self,
        model: ModelRef,
        doubts: Callable[[NodeId], int] = lambda _: 0,
        *,
        with_leaving: bool = False,
        only: NodeId | None = None,
    ) -> list[Candidate]:
        """Those that an answer under way may use: it keeps what it has, and doubtful nodes come last."""
        return [
            self._candidate(device, doubts(device.record.node_id) + self._general_doubts(device))
            for device in self._fit(model, only)
            if with_leaving or _stays(device)
        ]

    def node_changed(self, change: Change) -> None:
        """Take news of a node: what was seen of an earlier life of it counts no more."""
        if change.after is NodeState.JOINED:
            self.corrections.forget(change.record.node_id)

    def passed_over(self, model: ModelRef, only: NodeId | None = None) -> list[tuple[str, str]]:
        """Name the devices that `for_plans` leaves out, with the reason of each."""
        reasons = [(d.record.name, self._obstacle(d, model, only)) for d in self._roster.devices()]
        return [(name, reason) for name, reason in reasons if reason is not None]

    def _obstacle(self, device: Device, model: ModelRef, only: NodeId | None) -> str | None:
        status = device.status
        if device.state is not NodeState.ALIVE or status is None:
            return f"it is {device.state}"
        if self.distrusts(device.record):
            return "it is not trusted here"
        if model not in status.models:
            return f"it does not have {model.name}"
        if status.leaving is not None:
            what = "it takes nothing new" if status.is_closed else "others should take over from it"
            return f"{what}: {status.leaving}"
        if device.kept_out is not None:
            return device.kept_out
        if not _is_allowed(device, only):
            return "the request may not leave the device that was asked"
        return "it did not do its work" if self._is_mistrusted(device.record.node_id) else None

    def kept_out(self) -> tuple[str, ...]:
        """Name the nodes that no plan uses because they come and go, or take nothing new, each with why."""
        devices = self._roster.devices()
        unsteady = [f"{device.record.name} {device.kept_out}" for device in devices if device.kept_out]
        closed = [(d.record.name, d.status.leaving) for d in devices if d.status and d.status.is_closed]
        return (*unsteady, *(f"{name} takes nothing new: {why}" for name, why in closed))

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

    def _fit(self, model: ModelRef, only: NodeId | None = None) -> list[Device]:
        return [
            device
            for device in self._roster.devices()
            if _is_allowed(device, only)
            and device.state in _PRESENT
            and device.status is not None
            and model in device.status.models
            and not self.distrusts(device.record)
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

    def _candidate(self, device: Device, doubts: int = 0) -> Candidate:
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
            links=status.links,
            num_sessions=status.num_sessions,
            condition=status.condition,
            correction=self.corrections.factor(device.record.node_id),
        )

    def _is_mistrusted(self, node_id: NodeId) -> bool:
        since_s = self._mistrusted_s.get(node_id)
        return since_s is not None and now_s() - since_s < _MISTRUST_S


def _is_allowed(device: Device, only: NodeId | None) -> bool:
    return only is None or device.record.node_id == only


def _is_closed(device: Device) -> bool:
    return device.status is not None and device.status.is_closed


def _stays(device: Device) -> bool:
    return device.status is not None and device.status.leaving is None
