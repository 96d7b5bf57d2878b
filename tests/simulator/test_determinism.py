"""The same seed gives the same run: in another process, with other hashes, other imports, other Pythons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.digests import digests

ROOT = Path(__file__).parents[2]
OTHER_PYTHONS = sorted((ROOT / ".venv" / "pythons").glob("3.*/installed"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    return digests(seed=7)


def digests_of(python: Path, before: str = "", **environment: str) -> dict[str, str]:
    """Run every shipped scenario in a process of its own, after some other code."""
    code = f"{before}\nimport runpy\nrunpy.run_module('tests.simulator.digests', run_name='__main__')"
    ran = subprocess.run(
        [python, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def test_another_seed_is_another_run(expected: dict[str, str]) -> None:
    others = digests(seed=8)
    assert others.keys() == expected.keys()
    assert [name for name in expected if others[name] == expected[name]] == []


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_other_hashes_and_imports_change_nothing(expected: dict[str, str], hash_seed: str) -> None:
    before = "import decimal, sqlite3, xml.dom, mesh.blocking; junk = [object() for _ in range(100_000)]"
    assert digests_of(Path(sys.executable), before, PYTHONHASHSEED=hash_seed) == expected


@pytest.mark.parametrize("installed", OTHER_PYTHONS, ids=lambda path: path.parent.name)
def test_other_pythons_change_nothing(expected: dict[str, str], installed: Path) -> None:
    assert digests_of(installed.parent / "bin" / "python") == expected
