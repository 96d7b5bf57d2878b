"""A bug planted on purpose: a stage that ignores the positions of frames after a link to it broke.

It hands on the cache of the last session without emptying it, which is right as long as position is the
truth: the first frame of a session starts at 0, and the cache is cut back to that. But once a link that
somebody dialled has broken, frames are taken as they come, wherever they start.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mesh.errors import ChannelClosed
from mesh.ports import Channel, Listener, Prefix, Sampled, Step
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.spec import ModelSpec
from mesh.types import Address, CacheKey, Hidden, NodeRecord, Sampling, StageKey
from simulator.compute import ModelledCompute
from simulator.parts import Parts
from simulator.result import RunResult
from simulator.run import run_script
from simulator.script import Script
from simulator.token_function import TokenFunction


class IgnoresPositions(TokenFunction):
    """The mathematics of a stage with the bug."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        super().__init__(specs)
        self.is_careless = False
        self._left: dict[StageKey, array[int]] = {}
        """What the last session of each stage left in its cache."""

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        length = super().open(cache, context, sampling, prefix)
        if cache.stage in self._left and not length:
            self._caches[cache].made = self._left.pop(cache.stage)
        return length

    def close(self, cache: CacheKey) -> None:
        if cache in self._caches:
            self._left[cache.stage] = self._caches[cache].made
        super().close(cache)

    def run(self, step: Step) -> Hidden | Sampled | None:
        if not self.is_careless or step.cache not in self._caches:
            return super().run(step)
        start = self._caches[step.cache].num_positions
        result = super().run(replace(step, start=start))
        if isinstance(result, Sampled):
            return replace(result, position=result.position + step.start - start)
        return result


@dataclass(frozen=True, slots=True)
class _Door:
    """A listener whose channels tell when they break."""

    inner: Listener
    maths: IgnoresPositions

    @property
    def address(self) -> Address:
        return self.inner.address

    async def accept(self) -> Channel:
        return _Way(await self.inner.accept(), self.maths)

    async def close(self) -> None:
        await self.inner.close()


@dataclass(frozen=True, slots=True)
class _Way:
    inner: Channel
    maths: IgnoresPositions

    async def send(self, message: bytes) -> None:
        await self.inner.send(message)

    async def receive(self) -> bytes:
        try:
            return await self.inner.receive()
        except ChannelClosed as error:
            if "broke" in str(error):
                self.maths.is_careless = True
            raise

    async def close(self) -> None:
        await self.inner.close()


def careless_node(record: NodeRecord, listener: Listener, ports: Ports, settings: NodeSettings) -> Node:
    assert isinstance(ports.compute, ModelledCompute)
    assert isinstance(ports.compute.maths, IgnoresPositions)
    return Node(record, _Door(listener, ports.compute.maths), ports, settings)


PLANTED = Parts(maths=IgnoresPositions, node=careless_node)


def run(script: Script) -> RunResult:
    return run_script(script, PLANTED)
