"""A device's defaults are usable on any system, also one that tells little."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from mesh.types import DeviceClass
from nodes.identity import is_device_name
from nodes.probe import default_name, default_threads, guess_class, probe_device


def test_this_device_has_usable_defaults() -> None:
    facts = probe_device()
    assert is_device_name(facts.name)
    assert facts.device_class in (DeviceClass.LAPTOP, DeviceClass.DESKTOP)
    assert 0 < facts.memory_bytes <= psutil.virtual_memory().total // 2
    assert 1 <= facts.num_threads <= (psutil.cpu_count() or 1)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("kitchen", "kitchen"),
        ("kitchen.home.arpa", "kitchen"),
        ("Küche", "Küche"),
        ("", "device"),
        (".local", "device"),
        ("a\nb", "device"),
        ("x" * 64, "x" * 63),
    ],
)
def test_the_host_names_the_device(host: str, name: str) -> None:
    assert default_name(host) == name


def test_a_battery_makes_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(percent=50), raising=False)
    assert guess_class() is DeviceClass.LAPTOP


def test_no_battery_a_broken_one_or_no_way_to_ask_makes_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("driver")

    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert guess_class() is DeviceClass.DESKTOP
    monkeypatch.setattr(psutil, "sensors_battery", broken)
    assert guess_class() is DeviceClass.DESKTOP
    monkeypatch.delattr(psutil, "sensors_battery")
    assert guess_class() is DeviceClass.DESKTOP


@pytest.mark.parametrize(
    ("num_cores", "allowed", "num_threads"),
    [(4, [0, 1, 2, 3, 4, 5, 6, 7], 4), (4, [0, 1], 2), (None, [0], 1), (4, None, 4)],
)
def test_threads_are_physical_cores_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, num_cores: int | None, allowed: list[int] | None, num_threads: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: num_cores)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: allowed, raising=False)
    assert default_threads() == num_threads
