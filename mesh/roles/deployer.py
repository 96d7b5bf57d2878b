"""Has a plan's stages loaded on their nodes.

Owns the requests under way and whom they wait for. Must not know why the plan is as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from mesh.errors import MeshError, NetworkError, StageLost, from_code, retry_after_s
from mesh.messages import LoadStage, RequestFailed, StageLoaded
from mesh.roles.peers import Peers
from mesh.types import Address, NodeId, Plan, PlannedStage


class LoadFailed(Exception):
    """A node could not load what it was asked to, or went away before it had."""

    def __init__(self, stage: PlannedStage, error: MeshError) -> None:
        super().__init__(str(error))
        self.stage = stage
        self.error = error


@dataclass(frozen=True, slots=True)
class _Load:
    """Stages that somebody waits for, by the id of the request."""

    stages: dict[int, PlannedStage]
    missing: set[int]
    over: asyncio.Future[LoadFailed | None]
    rows_s: dict[int, float] = field(default_factory=dict)
    """What one row of a prompt takes at each, by the id of the request."""

    def end(self, error: LoadFailed | None) -> None:
        if not self.over.done():
            self.over.set_result(error)


class Deployer:
    """Sends LoadStage and awaits the answers."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._ids = count(1)
        self._loads: dict[int, _Load] = {}
        """By the id of each of its requests."""
        peers.on_broken(self._peer_broken)

    async def load(self, plan: Plan, stages: Sequence[PlannedStage]) -> float:
        """Return when stages of a plan, or copies of them, are in memory; at once where they are already.

        Returns the seconds that a row of a prompt takes at the slowest of them, 0 where none was measured.
        Raises LoadFailed with what the first worker could not do, the device named, or StageLost for one that
        went away meanwhile, though it may have had its stage already.
        """
        if not stages:
            return 0.0
        # No TaskGroup: one that fails leaves its task half cancelled (CPython before 3.13), and whoever asked
        # goes on with other stages.
        ids = [next(self._ids) for _ in stages]
        wanted = dict(zip(ids, stages, strict=True))
        load = _Load(wanted, set(ids), asyncio.get_running_loop().create_future())
        self._loads.update(dict.fromkeys(ids, load))
        try:
            for request_id, stage in wanted.items():
                await self._ask(request_id, plan, stage)
            error = await load.over
        finally:
            for request_id in ids:
                del self._loads[request_id]
        if error is not None:
            raise error
        return max(load.rows_s.values())

    async def _ask(self, request_id: int, plan: Plan, stage: PlannedStage) -> None:
        try:
            await self._peers.post(stage.node.address, LoadStage(request_id, plan.key(stage)))
        except NetworkError as error:
            text = f"{stage.node.name} went away before it had loaded {stage.span}"
            raise LoadFailed(stage, StageLost(f"{text} ({error})", stage.node.node_id)) from error

    def answered(self, answer: StageLoaded | RequestFailed) -> None:
        """Take a worker's answer."""
        load = self._loads.get(answer.request_id)
        if load is None:
            return
        if isinstance(answer, RequestFailed):
            error, stage = answer.error, load.stages[answer.request_id]
            load.end(
                LoadFailed(stage, from_code(error.code, f"{stage.node.name}: {error}", retry_after_s(error)))
            )
        else:
            load.rows_s[answer.request_id] = answer.row_s
        load.missing.discard(answer.request_id)
        if not load.missing:
            load.end(None)

    def node_gone(self, node_id: NodeId, error: StageLost) -> None:
        """Stop waiting for a node."""
        self._fail(lambda stage: stage.node.node_id == node_id, str(error))

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        self._fail(lambda stage: stage.node.address == address, str(error))

    def _fail(self, is_gone: Callable[[PlannedStage], bool], why: str) -> None:
        for request_id, load in self._loads.items():
            stage = load.stages[request_id]
            if is_gone(stage):
                lost = StageLost(f"{stage.node.name} went away ({why})", stage.node.node_id)
                load.end(LoadFailed(stage, lost))
