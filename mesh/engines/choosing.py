"""Which engine computes what on this device.

Owns the choice, and the engine that is two: our kernels where they were built and run a stage, torch for
the rest. torch is imported when the first stage needs it, or a graphics card was asked for, which takes
seconds and 200 MB.

When a graphics card is worth it: what torch computes goes to one where there is one, because it reads as much
of bf16 and float32 weights there, from faster memory. Stages in 4 and 8 bits stay with our kernels. For one
row these read half a byte a weight; torch on a card writes each weight out first and moves some 17 bytes, and
few cards' memory is 30 times as fast as their host's. The owner of a device that serves long prompts or many
users may choose its card all the same. And our kernels alone give the same bits on every device; see
`mesh.model.stage.Stage` for what holds on a card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path

from mesh.engines.cards import Card, placement_on, usable
from mesh.engines.engine import Engine
from mesh.engines.native.engine import NativeEngine, runs
from mesh.engines.native.kernels import available, load_kernels
from mesh.errors import BadSetting
from mesh.ports import Prefix, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Sampling, StageKey


class EngineName(StrEnum):
    """What an owner may choose."""

    AUTO = "auto"
    """Our kernels where they can, else torch, on a graphics card where there is one."""
    NATIVE = "native"
    TORCH = "torch"
    """On the processor."""
    CUDA = "cuda"
    """torch on a graphics card of NVIDIA's, or of AMD's."""
    MPS = "mps"
    """torch on a graphics card of Apple's."""

    @property
    def card(self) -> Card | None:
        """The graphics card that is asked for."""
        return Card(self.value) if self.value in tuple(Card) else None


def engine_maker(name: EngineName, num_threads: int) -> Callable[[], Engine]:
    """Return what makes the engine, on the thread that will run it; raise BadSetting where it cannot."""
    if name is EngineName.NATIVE and not available():
        raise BadSetting("the native kernels were not built; install a C compiler, then the package anew")
    if name.card:
        _check_card(name.card)
        return partial(make_torch, num_threads, name.card)
    if name is EngineName.TORCH:
        return lambda: make_torch(num_threads)
    if not available():
        return lambda: make_best_torch(num_threads)
    if name is EngineName.NATIVE:
        return lambda: make_native(num_threads)
    return lambda: BestEngine(make_native(num_threads), lambda: make_best_torch(num_threads))


def engine_and_kind(name: EngineName) -> tuple[str, str]:
    """Return which engine computes stages in int4 for a choice, and on what kind of processor or card.

    Speeds that were measured are remembered under it.
    """
    if name.card:
        return EngineName.TORCH.value, name.card.value
    if name is not EngineName.TORCH and available():
        return EngineName.NATIVE.value, load_kernels().kind.name.lower()
    cards = usable() if name is EngineName.AUTO else ()
    return EngineName.TORCH.value, cards[0].value if cards else "cpu"


def _check_card(card: Card) -> None:
    if placement_on(card):
        return
    names = [card.value for card in usable()]
    here = f"torch can use {' and '.join(names)} here" if names else "torch can use none here"
    raise BadSetting(f"--engine {card.value}: there is no such graphics card; {here}; or use --engine auto")


def make_native(num_threads: int) -> NativeEngine:
    """Return the engine on our kernels; call it only where they were built."""
    return NativeEngine(load_kernels(), num_threads)


def make_torch(num_threads: int, card: Card | None = None) -> Engine:
    """Return the engine on torch, on a usable graphics card or else on the processor.

    To be called on the thread that runs it: OpenMP keeps the number of threads for each that asks.
    """
    import_module("torch").set_num_threads(num_threads)
    where = [placement_on(card)] if card else []
    engine: Engine = import_module("mesh.engines.torch_engine").TorchEngine(*where)
    return engine


def make_best_torch(num_threads: int) -> Engine:
    """Return the engine on torch, on the best graphics card or else on the processor."""
    return make_torch(num_threads, next(iter(usable()), None))


class BestEngine:
    """Each stage on the engine that runs it best; see `mesh.engines.engine.Engine`."""

    def __init__(self, native: NativeEngine, make_other: Callable[[], Engine]) -> None:
        self._native = native
        self._make_other = make_other
        self._other: Engine | None = None
        self._others_stages: set[StageKey] = set()

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Load a span where it runs best."""
        if not runs(key, spec):
            self._others_stages.add(key)
        return self._of(key).load(key, path, spec)

    def unload(self, key: StageKey) -> None:
        """Free a span."""
        self._of(key).unload(key)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a cache."""
        return self._of(cache.stage).open(cache, context, sampling, prefix)

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames, which are all of one stage."""
        return self._of(steps[0].cache.stage).run(steps) if steps else []

    def close(self, cache: CacheKey) -> None:
        """Free a cache."""
        self._of(cache.stage).close(cache)

    def _of(self, key: StageKey) -> Engine:
        if key not in self._others_stages:
            return self._native
        if self._other is None:
            self._other = self._make_other()
        return self._other
