"""The processor's name, from files like the kernel's."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from mesh.adapters.processor import processor_name


def test_the_kernel_names_the_processor_once_for_each_core(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    core = "processor\t: 0\nmodel name\t: Some Processor @ 2.00GHz\nflags\t\t: fpu\n\n"
    cpuinfo.write_text(2 * core)
    assert processor_name(cpuinfo) == "Some Processor @ 2.00GHz"


@pytest.mark.parametrize("content", [None, "processor\t: 0\nBogoMIPS\t: 50.00\n"])
def test_where_the_kernel_says_nothing_the_system_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_text(content)
    assert processor_name(cpuinfo) == "arm"
