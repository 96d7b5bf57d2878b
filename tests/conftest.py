"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The real model's file; MESH_TEST_MODEL names another place for it."""
    named = os.environ.get("MESH_TEST_MODEL")
    stored = platformdirs.user_data_path("ambient-mesh") / "models" / "smollm2-135m" / "model.gguf"
    path = Path(named) if named else stored
    if not path.is_file():
        pytest.fail(f"no model at {path}; run: mesh pull smollm2:135m")
    return path
