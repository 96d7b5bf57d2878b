"""A model of MiMo-7B's true shape over three devices of one thread: tokens a second, and memory by device.

Run `python -m benchmarks.mimo_shape [--rounds N]`. The weights are random and lie in the user's cache (about
5 GB, written once, and as much again where they are packed); llama.cpp RPC runs the same file over the same
three spans, in turn. Wants about 12 GB of memory. Keeps what it sees in benchmarks/results/mimo_shape.json.

With --mtp the model has its layer for multi-token prediction, and the mesh that guesses by it is compared
with the mesh that does not; kept in benchmarks/results/mimo_mtp.json. llama.cpp cannot read that file.
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
from benchmarks.beside.memory_watch import MemoryWatch
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from benchmarks.beside.mimo_file import WHOLE, MimoShape, mimo_file
from benchmarks.beside.mimo_guessing import GuessingSeen, guessing
from benchmarks.beside.sample import Sample, Work
from benchmarks.llama_cpp import BuildFailed, LlamaCpp, built, cache_folder
from mesh.errors import MeshError, first_of
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir

RESULTS = Path(__file__).parent / "results" / "mimo_shape.json"
MTP_RESULTS = RESULTS.with_name("mimo_mtp.json")
_NUM_DEVICES = 3
_WORK = Work(decode_tokens=32, prompt_tokens=128)
_GUESSING_TOKENS = 64  # of an answer: it takes some to see that guesses are wrong


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
        watch = MemoryWatch(home.agents if isinstance(home, MeshHome) else home.servers)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch.run())
            decode = await home.decode(_WORK)
            prefill = await home.prefill(_WORK)
            watching.cancel()
        layers = home.shares if isinstance(home, MeshHome) else home.setting.shares
    return Seen(decode, prefill, layers, watch.most_mb)


def _store() -> ModelStore:
    return ModelStore(cache_folder() / "mimo-shape")


def _written(shape: MimoShape) -> str:
    """Write the model where it is not there, and return its name."""
    store = _store()
    click.echo(f"the model lies in {store.folder}")
    return mimo_file(store, ModelStore(default_data_dir()).path(DEFAULT_MODEL), shape)


async def measure(num_rounds: int, shape: MimoShape, tools: LlamaCpp | None) -> dict[str, list[Seen]]:
    """Measure both in turn."""
    store, model = _store(), _written(shape)
    seen: dict[str, list[Seen]] = {"mesh": [], "llama.cpp": []}
    for _ in range(num_rounds):
        ours = await of_mesh(MeshSetting(store.data_dir, model, _NUM_DEVICES, num_users=1))
        _tell("mesh", ours, seen)
        if tools is not None:
            same = LlamaSetting(tools, store.file_of(model), ours.layers)
            _tell("llama.cpp", await of_llama_cpp(same), seen)
    return seen


async def measure_guessing(num_rounds: int, shape: MimoShape) -> GuessingSeen:
    """Measure the mesh with guesses of the model's own and without."""
    setting = MeshSetting(_store().data_dir, _written(shape), _NUM_DEVICES, num_users=1)
    seen = await guessing(setting, num_rounds, _GUESSING_TOKENS)
    for one in seen.devices:
        at = f"layers {one.span[0]} to {one.span[1]}"
        click.echo(f"{one.name} {at}: planned {one.planned_mb} MB, resident {one.resident_mb} MB")
    for paces in seen.rounds:
        for drafting, pace in paces.items():
            rates = f"{pace.tokens_per_s:.2f} tokens/s, {pace.later_tokens_per_s:.2f} in the second half"
            click.echo(f"{drafting}: {rates}; {pace.num_right} of {pace.num_drafted} guesses right")
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


def _keep_guessing(seen: GuessingSeen) -> None:
    kept = {"machine": description(None), "decode_tokens": _GUESSING_TOKENS, **asdict(seen)}
    MTP_RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


def _sum(samples: Sequence[Sample]) -> dict[str, float] | None:
    figure = spread([sample.tokens_per_s for sample in samples])
    return None if figure is None else asdict(figure)


@click.command()
@click.option("--rounds", "num_rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--layers", type=click.IntRange(3, 36), help="Fewer layers, to try it out; nothing is kept.")
@click.option("--mesh-alone", is_flag=True, help="Leave llama.cpp out.")
@click.option("--mtp", "has_mtp", is_flag=True, help="With multi-token prediction, against without guesses.")
def main(num_rounds: int, layers: int | None, mesh_alone: bool, has_mtp: bool) -> None:
    """Measure, and keep the result."""
    shape = MimoShape(layers or WHOLE.num_layers, has_mtp)
    try:
        if has_mtp:
            _run_guessing(num_rounds, shape)
        else:
            _run(num_rounds, shape, None if mesh_alone else _tools())
    except* MeshError as group:
        click.echo(f"mesh: {first_of(group)}", err=True)
        sys.exit(1)


def _run(num_rounds: int, shape: MimoShape, tools: LlamaCpp | None) -> None:
    seen = asyncio.run(measure(num_rounds, shape, tools))
    if shape == WHOLE:
        _keep(seen, tools)


def _run_guessing(num_rounds: int, shape: MimoShape) -> None:
    seen = asyncio.run(measure_guessing(num_rounds, shape))
    if shape.num_layers == WHOLE.num_layers:
        _keep_guessing(seen)


if __name__ == "__main__":
    main()
