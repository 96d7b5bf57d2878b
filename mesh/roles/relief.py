"""Prepares other routes for an answer, while the one of now goes on, for when nodes of it leave.

Owns which nodes have a route prepared without them, and for which there was none. Must not know what leads to
a node's leaving, nor how the answer turns to a prepared route.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from mesh.errors import CapacityLost, StageLost
from mesh.logic.interruption import Interruption
from mesh.logic.session import Session
from mesh.roles.deployer import LoadFailed
from mesh.roles.order import NodeLeaving, Prepared
from mesh.roles.routes import Routes
from mesh.types import NodeId, Plan

_log = logging.getLogger(__name__)


class Relief:
    """What is prepared for one answer."""

    def __init__(
        self,
        session: Session,
        routes: Routes,
        load: Callable[[Plan], Awaitable[object]],
        tell: Callable[[Prepared | NodeLeaving], None],
    ) -> None:
        self._session = session
        self._routes = routes
        self._load = load
        self._tell = tell
        self._relieved: dict[tuple[int, NodeId], None] = {}
        """Nodes for which another route is prepared, by the epoch that it is to end."""
        self._unrelieved: dict[NodeId, None] = {}
        """Nodes for which there was no other route."""

    def is_needed(self, leaving: NodeId) -> bool:
        """Whether a route is to be prepared for a leaving node: true once for each route it is part of."""
        place = (self._session.epoch, leaving)
        if not self._routes.holds(leaving) or place in self._relieved:
            return False
        self._relieved[place] = None
        return True

    async def prepare(self, leaving: NodeId) -> None:
        """Have another route loaded, and tell of it as Prepared; keep in mind where there is none."""
        epoch, refused = self._session.epoch, dict[NodeId, None]()
        while True:
            try:
                plan = self._routes.beside(leaving, refused)
                await self._load(plan)
            except LoadFailed as failed:
                if failed.stage.node.node_id not in refused:
                    refused[failed.stage.node.node_id] = None
                    continue
                self._failed(epoch, leaving, failed)
            except (CapacityLost, TimeoutError) as error:
                self._failed(epoch, leaving, error)
            else:
                self._tell(Prepared(epoch, plan, leaving))
            return

    def mesh_changed(self) -> None:
        """A route may be possible now which was not: tell of those who still wait for one."""
        for node_id in self._unrelieved:
            self._tell(NodeLeaving(node_id))
        self._unrelieved.clear()

    def handed_over(self, prepared: Prepared) -> Interruption:
        """Return what turns the answer to a prepared route."""
        node_id = prepared.leaving
        error = StageLost(f"{self._routes.name(node_id)} has handed over", node_id)
        return Interruption(error, (node_id,), (node_id,), prepared.plan)

    def _failed(self, epoch: int, leaving: NodeId, error: Exception) -> None:
        """Try again when the mesh has changed."""
        _log.warning("%s cannot hand over: %s", self._routes.name(leaving), error)
        self._relieved.pop((epoch, leaving), None)
        self._unrelieved[leaving] = None
