"""Has this device's speed measured once, while nobody needs it.

Owns when: after some quiet, and broken off when work comes. Must not know how speed is measured or kept.
"""

from __future__ import annotations

import asyncio
import logging

from mesh.errors import MeshError
from mesh.ports import Speedometer
from mesh.roles.worker import Worker
from mesh.types import SpeedRecord

_log = logging.getLogger(__name__)

_QUIET_S = 5.0  # without work before it begins: who has just started is often asked at once
_LOOK_S = 0.1  # between looks whether work has come: a token or two of a first answer are slower


class Measuring:
    """Brings a node's speed into its status."""

    def __init__(self, speedometer: Speedometer, worker: Worker, *, may_measure: bool) -> None:
        self._speedometer = speedometer
        self._worker = worker
        self._may_measure = may_measure

    async def run(self) -> None:
        """Announce what is known, or measure where that is wanted; return when there is no more to do."""
        try:
            self._worker.speed = await self._speedometer.kept()
            while self._worker.speed is None and self._may_measure:
                await self._quiet()
                self._worker.speed = await self._measured()
        except MeshError as error:
            _log.warning("how fast this device computes is not known: %s", error)

    async def _quiet(self) -> None:
        """Wait until there was no work for a while."""
        looks = 0
        while looks * _LOOK_S < _QUIET_S:
            await asyncio.sleep(_LOOK_S)
            looks = looks + 1 if self._worker.is_idle else 0

    async def _measured(self) -> SpeedRecord | None:
        """Measure; None where work came in between."""
        async with asyncio.TaskGroup() as tasks:
            measuring = tasks.create_task(self._attempt())
            watching = tasks.create_task(self._until_work())
            watching.add_done_callback(lambda _: measuring.cancel())
            measuring.add_done_callback(lambda _: watching.cancel())
        outcome = None if measuring.cancelled() else measuring.result()
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome

    async def _attempt(self) -> SpeedRecord | MeshError:
        try:
            return await self._speedometer.measure()
        except MeshError as error:  # as a value, for a group of tasks would wrap it
            return error

    async def _until_work(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._worker.is_idle:
                return
