"""What this machine is and what ran on it, for the record.

Owns which of a processor's abilities matter to products of small integers.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

from benchmarks.llama_cpp import VERSION, LlamaCpp
from simulator.real.machine import describe_machine

_ABILITIES = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve"),
)


def description(tools: LlamaCpp | None) -> dict[str, object]:
    """Processor, its abilities, system and versions."""
    return {
        **describe_machine(),
        "abilities": abilities(_cpuinfo()),
        "system": platform.platform(),
        "llama_cpp": None if tools is None else _llama_cpp(tools),
    }


def abilities(cpuinfo: str) -> list[str]:
    """Those of a processor that matter, from the text of /proc/cpuinfo; none where that says nothing."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    here = line[1].split() if line else []
    return [ability for ability in _ABILITIES if ability in here]


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _llama_cpp(tools: LlamaCpp) -> dict[str, str]:
    versions = {"llama-cpp-python": VERSION}
    try:
        lists = (tools.folder / "source" / "ggml" / "CMakeLists.txt").read_text()
    except OSError:
        return versions
    parts = re.findall(r"set\(GGML_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)\)", lists)
    return versions | {"ggml": ".".join(parts), "build": "Release, -march=native"}
