"""What apps may rely on, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mesh
import simulator
from mesh.client import ChatOptions

HEAVY = ("torch", "grpc", "zeroconf", "numpy", "tokenizers", "httpx2")


def test_the_public_names_are_these() -> None:
    assert sorted(mesh.__all__) == ["ChatMessage", "MeshError", "connect", "connect_blocking"]
    for name in mesh.__all__:
        assert getattr(mesh, name) is not None


def test_the_simulator_s_public_names_are_these() -> None:
    assert sorted(simulator.__all__) == [
        "Parts",
        "RunResult",
        "Scenario",
        "Script",
        "Verdict",
        "expand",
        "load",
        "run_script",
        "shipped",
    ]
    for name in simulator.__all__:
        assert getattr(simulator, name) is not None
    with pytest.raises(AttributeError, match="module 'simulator' has no attribute 'rum'"):
        _ = simulator.rum


def test_connect_is_the_function_even_after_its_module_is_loaded() -> None:
    import mesh.api
    import mesh.blocking

    assert mesh.connect is mesh.api.connect
    assert mesh.connect_blocking is mesh.blocking.connect_blocking


def test_a_wrong_name_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'mesh' has no attribute 'conect'"):
        _ = mesh.conect


def test_the_options_of_a_chat_are_these() -> None:
    assert list(ChatOptions.__annotations__) == [
        "model",
        "max_tokens",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "seed",
        "deadline_s",
        "skill",
        "privacy",
        "drafting",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules",
    [
        "mesh",
        "mesh.client, mesh.link, mesh.roles.node, mesh.wire.codec, mesh.logic.partition",
        "simulator.run, simulator.scenario, simulator.search.sweep, simulator.cli",
    ],
)
def test_importing_loads_nothing_heavy(modules: str) -> None:
    script = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
