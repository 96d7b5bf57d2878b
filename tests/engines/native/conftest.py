"""Tests of the native engine run where its kernels were built; the models that they share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mesh.engines.native.kernels import available

if not available():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def path_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what writes a model of `models.SPECS` when it is first asked for, and tells where it lies."""
    from tests.engines.native import models  # needs the kernels

    @cache
    def written(name: str) -> Path:
        return models.write(tmp_path_factory.mktemp(name), models.SPECS[name])

    return written
