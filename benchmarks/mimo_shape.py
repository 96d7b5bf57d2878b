"""A model of MiMo-7B's true shape over three devices of one thread: tokens a second, and memory by device.

Run `python -m benchmarks.mimo_shape [--rounds N]`. The weights are random and lie in the user's cache (about
5 GB, written once); llama.cpp RPC runs the same file over the same three spans, in turn. Wants about 12 GB of
memory. Keeps what it sees in benchmarks/results/mimo_shape.json.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.beside.description import description
from benchmarks.beside.links import LOOPBACK
from benchmarks.beside.llama_side import LlamaHome, LlamaSetting, llama_home
from benchmarks.beside.measures import spread
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from benchmarks.beside.mimo_file import mimo_file
from benchmarks.beside.processes import Running
from benchmarks.beside.sample import Sample, Work
from benchmarks.llama_cpp import BuildFailed, LlamaCpp, built, cache_folder
from mesh.errors import MeshError, first_of
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir

RESULTS = Path(__file__).parent / "results" / "mimo_shape.json"
_NUM_DEVICES = 3
_MB = 1_000_000
_WORK = Work(decode_tokens=32, prompt_tokens=128)


@dataclass(frozen=True, slots=True)
class Seen:
    """One system in one round."""

    decode: Sample
    prefill: Sample
    layers: tuple[int, ...]
    resident_mb: dict[str, int]
    """Memory by device after decoding; the model's file is mapped, and counts where it was read."""


async def of_mesh(setting: MeshSetting) -> Seen:
    """Measure the mesh."""
    return await _of(mesh_home(setting, LOOPBACK))


async def of_llama_cpp(setting: LlamaSetting) -> Seen:
    """Measure llama.cpp over the same spans; its servers free the model when the client has gone."""
    return await _of(llama_home(setting, LOOPBACK))


async def _of(opened: AbstractAsyncContextManager[MeshHome] | AbstractAsyncContextManager[LlamaHome]) -> Seen:
    async with opened as home:
        watch = _Watch(home.agents if isinstance(home, MeshHome) else home.servers)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch.run())
            decode = await home.decode(_WORK)
            prefill = await home.prefill(_WORK)
            watching.cancel()
        layers = home.shares if isinstance(home, MeshHome) else home.setting.shares
    return Seen(decode, prefill, layers, watch.most_mb)


class _Watch:
    """Looks at memory twice a second and remembers the most: llama.cpp's servers free it in between."""

    def __init__(self, processes: Sequence[Running]) -> None:
        self._processes = processes
        self.most_mb = {process.name: 0 for process in processes}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for process in self._processes:
                now_mb = process.resident_bytes // _MB
                self.most_mb[process.name] = max(self.most_mb[process.name], now_mb)
            await asyncio.sleep(0.5)


async def measure(num_rounds: int, num_layers: int | None, tools: LlamaCpp | None) -> dict[str, list[Seen]]:
    """Measure both in turn."""
    store = ModelStore(cache_folder() / "mimo-shape")
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    click.echo(f"the model lies in {store.folder}")
    model = mimo_file(store, vocabulary) if num_layers is None else mimo_file(store, vocabulary, num_layers)
    seen: dict[str, list[Seen]] = {"mesh": [], "llama.cpp": []}
    for _ in range(num_rounds):
        ours = await of_mesh(MeshSetting(store.data_dir, model, _NUM_DEVICES, num_users=1))
        _tell("mesh", ours, seen)
        if tools is not None:
            same = LlamaSetting(tools, store.file_of(model), ours.layers)
            _tell("llama.cpp", await of_llama_cpp(same), seen)
    return seen


def _tell(who: str, one: Seen, seen: dict[str, list[Seen]]) -> None:
    seen[who].append(one)
    memory = ", ".join(f"{name} {size_mb} MB" for name, size_mb in one.resident_mb.items())
    click.echo(
        f"{who:10} decode {one.decode.tokens_per_s:5.2f} tokens/s  prefill {one.prefill.tokens_per_s:5.1f}  "
        f"layers {'+'.join(map(str, one.layers))}  {memory}"
    )


def _tools() -> LlamaCpp | None:
    try:
        return built()
    except BuildFailed as error:
        click.echo(f"without llama.cpp: {error}")
        return None


def _keep(seen: dict[str, list[Seen]], tools: LlamaCpp | None) -> None:
    systems = {
        who: {
            "decode_tokens_per_s": _sum([one.decode for one in rounds]),
            "prefill_tokens_per_s": _sum([one.prefill for one in rounds]),
            "rounds": [asdict(one) for one in rounds],
        }
        for who, rounds in seen.items()
        if rounds
    }
    kept = {"machine": description(tools), "work": asdict(_WORK), "systems": systems}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


def _sum(samples: Sequence[Sample]) -> dict[str, float] | None:
    figure = spread([sample.tokens_per_s for sample in samples])
    return None if figure is None else asdict(figure)


@click.command()
@click.option("--rounds", "num_rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--layers", type=click.IntRange(3, 36), help="Fewer layers, to try it out; nothing is kept.")
@click.option("--mesh-alone", is_flag=True, help="Leave llama.cpp out.")
def main(num_rounds: int, layers: int | None, mesh_alone: bool) -> None:
    """Measure, and keep the result."""
    try:
        tools = None if mesh_alone else _tools()
        seen = asyncio.run(measure(num_rounds, layers, tools))
    except* MeshError as group:
        click.echo(f"mesh: {first_of(group)}", err=True)
        sys.exit(1)
    if layers is None:
        _keep(seen, tools)


if __name__ == "__main__":
    main()
