"""The real model in virtual devices: an engine's stages behind the simulator's `Maths`.

Owns that it computes with one thread: then the same prompt gives the same bits on each run, on torch too.
Must not know time: `simulator.compute` charges it.
"""

from __future__ import annotations

from pathlib import Path

from mesh.engines.choosing import EngineName, engine_maker
from mesh.errors import MeshError
from mesh.ports import Prefix, Sampled, Step
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import (
    CacheKey,
    ChatMessage,
    FinishReason,
    Hidden,
    Precision,
    Sampling,
    SessionId,
    StageKey,
    TokenIds,
)
from simulator.parts import Parts, Specs
from simulator.real.models import FileLibrary, ModelFiles, default_data_dir

_REFERENCE = SessionId("f" * 16)


def parts(data_dir: Path | None = None) -> Parts:
    """Parts for `simulator.run.run_script` that compute with the real models of a data directory."""
    files = ModelFiles(ModelStore(data_dir or default_data_dir()))

    def prompt_ids(spec: ModelSpec, prompt: str) -> tuple[int, ...]:
        return files.codec(spec.digest).encode_chat((ChatMessage("user", prompt),))

    def stop_ids(spec: ModelSpec) -> frozenset[int]:
        return files.codec(spec.digest).stop_ids

    def maths(specs: Specs) -> EngineMaths:
        return EngineMaths(files)

    def library(specs: Specs) -> FileLibrary:
        return FileLibrary(files, [spec.name for spec in specs])

    return Parts(files.specs, maths, library, Undivided(files), prompt_ids, stop_ids)


class EngineMaths:
    """Maths by this machine's engine; see `simulator.token_function.Maths`."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._engine = engine_maker(EngineName.AUTO, num_threads=1)()

    def load(self, key: StageKey) -> int:
        """Hold a span; see Maths."""
        return self._engine.load(key, self._files.path(key.digest), self._files.spec(key.digest))

    def unload(self, key: StageKey) -> None:
        """Free a span; see Maths."""
        self._engine.unload(key)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a cache; see Maths."""
        return self._engine.open(cache, context, sampling, prefix)

    def close(self, cache: CacheKey) -> None:
        """Free a cache; see Maths."""
        self._engine.close(cache)

    def run(self, step: Step) -> Hidden | Sampled | None:
        """Run one frame; see Maths."""
        (result,) = self._engine.run((step,))
        if isinstance(result, MeshError):
            raise result
        return result


class Undivided:
    """The whole model in one piece: what the mesh's answers must be, token by token."""

    def __init__(self, files: ModelFiles) -> None:
        self._maths = EngineMaths(files)

    def __call__(
        self,
        spec: ModelSpec,
        prompt_ids: tuple[int, ...],
        sampling: Sampling,
        max_tokens: int,
        stop_ids: frozenset[int],
    ) -> tuple[tuple[int, ...], FinishReason]:
        """Return the answer, without the token that ends it, and why it ends."""
        key = StageKey(spec.digest, spec.whole, Precision.INT4)
        self._maths.load(key)
        cache = CacheKey(_REFERENCE, key)
        self._maths.open(cache, len(prompt_ids) + max_tokens, sampling)
        try:
            return self._answer(cache, prompt_ids, max_tokens, stop_ids)
        finally:
            self._maths.close(cache)

    def _answer(
        self, cache: CacheKey, prompt_ids: tuple[int, ...], max_tokens: int, stop_ids: frozenset[int]
    ) -> tuple[tuple[int, ...], FinishReason]:
        answer: list[int] = []
        start, ids = 0, prompt_ids
        while len(answer) < max_tokens:
            drawn = self._maths.run(Step(cache, start, TokenIds(ids), sample=True))
            assert isinstance(drawn, Sampled)
            if drawn.token in stop_ids:
                return tuple(answer), FinishReason.STOP
            answer.append(drawn.token)
            start, ids = drawn.position, (drawn.token,)
        return tuple(answer), FinishReason.LENGTH
