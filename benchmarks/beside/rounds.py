"""Rounds: both systems measured one right after the other, in turn the one and the other first.

Owns the order, and that each round starts every process anew, so that no lucky placement in memory lasts.
While one system works, the other's processes wait on the same cores; what they use meanwhile is a heartbeat
a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.beside.links import LOOPBACK, Link
from benchmarks.beside.llama_side import LlamaHome, LlamaSetting, llama_home
from benchmarks.beside.measures import Kind, Measure, Pair
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from benchmarks.beside.processes import Command, core_of, run_to_end
from benchmarks.beside.sample import Sample, Work
from benchmarks.llama_cpp import LlamaCpp

_NUM_STAGES = 2
_TIMES = {Kind.DECODE: 3, Kind.PREFILL: 1, Kind.USERS: 1, Kind.WHOLE: 3}
"""So often a measure is taken in a round: one that takes two seconds is spoilt by whatever comes between."""

Measuring = Callable[[], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is measured with."""

    data_dir: Path
    model: str
    path: Path
    tools: LlamaCpp | None
    """None: the mesh's half alone."""
    work: Work


async def one_round(
    ground: Ground, measures: Sequence[Measure], *, mesh_first: bool
) -> AsyncGenerator[tuple[Measure, Pair]]:
    """Yield each measure as often as it is taken; those of one link share their processes."""
    links = dict.fromkeys(measure.link for measure in measures if measure.kind is not Kind.WHOLE)
    for link in links:
        here = [one for one in measures if one.link == link and one.kind is not Kind.WHOLE]
        async with aclosing(_on_link(ground, link, here, mesh_first)) as pairs:
            async for done in pairs:
                yield done
    for measure in measures:
        if measure.kind is Kind.WHOLE:
            async with aclosing(_whole(ground, mesh_first)) as pairs_of_whole:
                async for pair in pairs_of_whole:
                    yield measure, pair


async def _on_link(
    ground: Ground, link: Link, measures: Sequence[Measure], mesh_first: bool
) -> AsyncGenerator[tuple[Measure, Pair]]:
    async with AsyncExitStack() as stack:
        setting = MeshSetting(ground.data_dir, ground.model, _NUM_STAGES, ground.work.num_users)
        ours = await stack.enter_async_context(mesh_home(setting, link))
        theirs = None
        if ground.tools is not None:
            same = LlamaSetting(ground.tools, ground.path, ours.shares)
            theirs = await stack.enter_async_context(llama_home(same, link))
        for measure in measures:
            mesh = _measuring(ours, measure.kind, ground.work)
            peer = None if theirs is None else _measuring(theirs, measure.kind, ground.work)
            for is_first in _turns(measure.kind, mesh_first):
                yield measure, await _in_turn(mesh, peer, is_first)


def _turns(kind: Kind, mesh_first: bool) -> list[bool]:
    """Whether the mesh goes first, each time that a measure is taken in a round."""
    return [mesh_first is (index % 2 == 0) for index in range(_TIMES[kind])]


def _measuring(home: MeshHome | LlamaHome, kind: Kind, work: Work) -> Measuring:
    ways = {Kind.DECODE: home.decode, Kind.PREFILL: home.prefill, Kind.USERS: home.users}
    return lambda: ways[kind](work)


async def _whole(ground: Ground, mesh_first: bool) -> AsyncGenerator[Pair]:
    """Decode by a mesh of one node, and by the bare engine in a process on the same core."""
    setting = MeshSetting(ground.data_dir, ground.model, num_devices=1, num_users=1)
    async with mesh_home(setting, LOOPBACK) as ours:
        for is_first in _turns(Kind.WHOLE, mesh_first):
            yield await _in_turn(lambda: ours.decode(ground.work), lambda: _bare(ground), is_first)


async def _bare(ground: Ground) -> Sample:
    words = (str(ground.data_dir), ground.model, str(ground.work.decode_tokens))
    command = (sys.executable, "-m", "benchmarks.beside.bare", *words)
    output = await run_to_end(Command("the bare engine", command, core=core_of(0)))
    return Sample(float(json.loads(output.text)), {"engine": round(output.cpu_s, 2)})


async def _in_turn(mesh: Measuring, peer: Measuring | None, mesh_first: bool) -> Pair:
    if peer is None:
        return Pair(await mesh(), None)
    if mesh_first:
        first = await mesh()
        return Pair(first, await peer())
    other = await peer()
    return Pair(await mesh(), other)
