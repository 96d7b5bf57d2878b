"""Measures how fast this device computes: which engine, on which model, and what is remembered of it.

Owns the choice of the model. Without one on disk a file of random weights stands in for it meanwhile. How
speed is measured is in `mesh.engines.probe`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.engines.choosing import EngineName, engine_and_kind, engine_maker
from mesh.engines.probe import Probed, Subject, Watch, probe
from mesh.engines.random_model import SHAPE, write_random_model
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.store.files import disk_errors
from mesh.store.shelf import ModelStore
from mesh.types import SpeedRecord
from nodes.options import DEFAULT_MODEL
from nodes.speeds import Fingerprint, fingerprint

_LARGEST_BYTES = 400_000_000
"""Of a model that is taken without being named: a larger one may have to be packed for longer than the
measuring lasts."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is measured."""

    data_dir: Path
    engine: EngineName
    num_threads: int
    model: str | None = None
    """None: the small model, else the smallest that is here, else random weights."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What the record is valid for; raise BadSetting where that engine is not here."""
        engine_maker(self.engine, self.num_threads)
        return fingerprint(*engine_and_kind(self.engine), self.num_threads)


def measure(choice: Choice, seconds: float) -> SpeedRecord:
    """Measure for about so many seconds, after loading.

    Raises what the store raises for a model that is named and not here, ModelCorrupt and UnsupportedModel.
    """
    what = choice.fingerprint
    with subject(ModelStore(choice.data_dir), choice.model) as on:
        engine = engine_maker(choice.engine, choice.num_threads)()
        watch = Watch(time.perf_counter, seconds)  # noqa: TID251  what is measured is real time
        return probe(Probed(engine, what.engine, what.kind, what.num_threads), on, watch)


@contextmanager
def subject(store: ModelStore, named: str | None) -> Iterator[Subject]:
    """Choose the model to measure on; one of random weights is gone afterwards."""
    name = named or _usual(store)
    if name is not None:
        yield _on_disk(store, name)
        return
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder:
        path = Path(folder) / "model.gguf"
        with disk_errors(path.parent):
            write_random_model(path)
        yield Subject(path, SHAPE)


def _usual(store: ModelStore) -> str | None:
    here = {model.name: model.size_bytes for model in store.listing() if model.path is not None}
    if DEFAULT_MODEL in here:
        return DEFAULT_MODEL
    small = {name: size for name, size in here.items() if size <= _LARGEST_BYTES}
    return min(small, key=small.__getitem__, default=None)


def _on_disk(store: ModelStore, name: str) -> Subject:
    path, ref = store.verified(name)
    with open_checkpoint(path) as file:
        return Subject(path, model_spec(file, ref.name, ref.digest))
