"""Has a plan's stages loaded on their nodes.

Owns the requests under way and whom they wait for. Must not know why the plan is as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from mesh.errors import MeshError, NetworkError, StageLost
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
class _Wanted:
    """A stage that a node was asked to load, and who waits for it."""

    stage: PlannedStage
    answer: asyncio.Future[LoadFailed | None]


class Deployer:
    """Sends LoadStage and awaits the answers."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._ids = count(1)
        self._wanted: dict[int, _Wanted] = {}
        peers.on_broken(self._peer_broken)

    async def load(self, plan: Plan, stages: Sequence[PlannedStage]) -> None:
        """Return when stages of a plan, or copies of them, are in memory; at once where they are already.

        Raises LoadFailed with what the first worker could not do, the device named, or StageLost.
        """
        # No TaskGroup: one that fails leaves its task half cancelled (CPython before 3.13), and whoever asked
        # goes on with other stages.
        failed: asyncio.Future[LoadFailed | None] = asyncio.get_running_loop().create_future()
        ids = [next(self._ids) for _ in stages]
        self._wanted.update({id_: _Wanted(stage, failed) for id_, stage in zip(ids, stages, strict=True)})
        try:
            for id_, stage in zip(ids, stages, strict=True):
                await self._ask(id_, plan, stage)
            error = await failed if ids else None
        finally:
            for id_ in ids:
                self._wanted.pop(id_, None)
        if error is not None:
            raise error

    async def _ask(self, request_id: int, plan: Plan, stage: PlannedStage) -> None:
        try:
            await self._peers.post(stage.node.address, LoadStage(request_id, plan.key(stage)))
        except NetworkError as error:
            text = f"{stage.node.name} went away before it had loaded {stage.span}"
            raise LoadFailed(stage, StageLost(f"{text} ({error})", stage.node.node_id)) from error

    def answered(self, answer: StageLoaded | RequestFailed) -> None:
        """Take a worker's answer."""
        wanted = self._wanted.pop(answer.request_id, None)
        if wanted is None or wanted.answer.done():
            return
        if isinstance(answer, RequestFailed):
            error, stage = answer.error, wanted.stage
            wanted.answer.set_result(LoadFailed(stage, type(error)(f"{stage.node.name}: {error}")))
        elif all(other.answer is not wanted.answer for other in self._wanted.values()):
            wanted.answer.set_result(None)

    def node_gone(self, node_id: NodeId, error: StageLost) -> None:
        """Stop waiting for a node."""
        self._fail(lambda stage: stage.node.node_id == node_id, str(error))

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        self._fail(lambda stage: stage.node.address == address, str(error))

    def _fail(self, is_gone: Callable[[PlannedStage], bool], why: str) -> None:
        for wanted in self._wanted.values():
            if is_gone(wanted.stage) and not wanted.answer.done():
                node = wanted.stage.node
                lost = StageLost(f"{node.name} went away ({why})", node.node_id)
                wanted.answer.set_result(LoadFailed(wanted.stage, lost))
