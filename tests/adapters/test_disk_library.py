"""What this device's disk says of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.adapters.disk_library import DiskLibrary
from mesh.store.shelf import ModelStore


@pytest.mark.parametrize(("name", "is_known"), [("mimo:7b-rl", True), ("tiny:1b", False), ("GPT-4o", False)])
async def test_of_a_model_that_nobody_could_have_here_nothing_is_known(
    tmp_path: Path, name: str, is_known: bool
) -> None:
    assert (await DiskLibrary(ModelStore(tmp_path)).card(name) is not None) == is_known
