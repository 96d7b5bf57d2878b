"""The tiny MiMo that was really trained, and what to ask it: questions that its training did not bring.

Owns where it lies and how a test gets at it. Must not know what is asked of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file

from benchmarks.tiny_mimo.grammar import turn
from mesh.store.pull import Puller
from mesh.store.shelf import ModelStore

FOLDER = Path(__file__).parent / "data" / "tiny-mimo"
NAME = "tiny-mimo"

_UNSEEN = 7_000_001  # neither the training's seed nor the one that it measured by


def questions(count: int, seed: int = 0) -> list[str]:
    """Return questions of the grammar."""
    random = Random(_UNSEEN + seed)
    return [turn(random)[0] for _ in range(count)]


def store_with(data_dir: Path, *folders: Path) -> ModelStore:
    """Pull folders, by default the tiny MiMo, into a data directory; their models have the folders' names."""
    store = ModelStore(data_dir)
    for folder in folders or (FOLDER,):
        Puller(store).pull(str(folder))
    return store


def variant(folder: Path, noise: float = 0.0) -> Path:
    """Write the model once more, as another one: its weights disturbed by so much of what they spread."""
    shutil.copytree(FOLDER, folder)
    config = json.loads((FOLDER / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": folder.name}))
    if noise:
        generator = torch.Generator().manual_seed(1)
        weights = load_file(FOLDER / "model.safetensors")
        disturbed = {name: _disturbed(one, noise, generator) for name, one in weights.items()}
        save_file(disturbed, folder / "model.safetensors", {"format": "pt"})
    return folder


def _disturbed(weights: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    numbers = weights.float()
    if numbers.ndim == 1:
        return weights
    spread = torch.randn(numbers.shape, generator=generator) * numbers.std()
    return (numbers + noise * spread).to(weights.dtype)
