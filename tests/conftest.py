"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.spec import ModelSpec
from mesh.types import Digest


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The real model's file; MESH_TEST_MODEL names another place for it."""
    named = os.environ.get("MESH_TEST_MODEL")
    stored = platformdirs.user_data_path("ambient-mesh") / "models" / "smollm2-135m" / "model.gguf"
    path = Path(named) if named else stored
    if not path.is_file():
        pytest.fail(f"no model at {path}; run: mesh pull smollm2:135m")
    return path


@pytest.fixture(scope="session")
def smollm2_spec(smollm2_path: Path) -> ModelSpec:
    """The real model's shape."""
    with GgufFile.open(smollm2_path) as file:
        return model_spec(file, "smollm2:135m", Digest("b" * 64))


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with the user's models and nothing else of his.

    Above all not how fast this device was found to be: agents would announce it, and plan by it.
    """
    own = tmp_path_factory.mktemp("data")
    (own / "models").symlink_to(platformdirs.user_data_path("ambient-mesh") / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_DATA_DIR", str(own))
        yield own
