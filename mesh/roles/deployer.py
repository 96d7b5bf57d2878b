"""Has a plan's stages loaded on their nodes.

Owns the requests under way and whom they wait for. Must not know why the plan is as it is.
"""

from __future__ import annotations

import asyncio
from itertools import count

from mesh.errors import MeshError, NetworkError, StageLost, first_of
from mesh.messages import LoadStage, RequestFailed, StageLoaded
from mesh.roles.peers import Peers
from mesh.types import Address, NodeId, Plan, PlannedStage


class Deployer:
    """Sends LoadStage and awaits the answers."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._ids = count(1)
        self._waiting: dict[int, tuple[PlannedStage, asyncio.Future[None]]] = {}
        peers.on_broken(self._peer_broken)

    async def deploy(self, plan: Plan) -> None:
        """Return when every stage is in memory; stages that are there already answer at once.

        Raises what a worker could not do, with the device named, or StageLost.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for stage in plan.stages:
                    tasks.create_task(self._load(plan, stage))
        except* MeshError as group:
            raise first_of(group) from None

    def answered(self, answer: StageLoaded | RequestFailed) -> None:
        """Take a worker's answer."""
        stage, future = self._waiting.get(answer.request_id, (None, None))
        if stage is None or future is None or future.done():
            return
        if isinstance(answer, RequestFailed):
            error = answer.error
            future.set_exception(type(error)(f"{stage.node.name}: {error}"))
        else:
            future.set_result(None)

    def node_gone(self, node_id: NodeId, error: StageLost) -> None:
        """Stop waiting for a node."""
        for stage, future in self._waiting.values():
            if stage.node.node_id == node_id and not future.done():
                future.set_exception(error)

    async def _load(self, plan: Plan, stage: PlannedStage) -> None:
        request_id = next(self._ids)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = (stage, future)
        try:
            await self._peers.post(stage.node.address, LoadStage(request_id, plan.key(stage)))
            await future
        except NetworkError as error:
            raise StageLost(f"{stage.node.name} went away before it had loaded {stage.span}") from error
        finally:
            del self._waiting[request_id]

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        for stage, future in self._waiting.values():
            if stage.node.address == address and not future.done():
                future.set_exception(StageLost(f"{stage.node.name} went away ({error})"))
