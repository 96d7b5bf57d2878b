"""What this machine is, for the record of a measurement."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from mesh.adapters.processor import processor_name


def describe_machine() -> dict[str, str | int]:
    """Processor, cores that may be used, and the versions that count."""
    return {
        "cpu": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "python": platform.python_version(),
        "torch": version("torch"),
        "grpcio": version("grpcio"),
    }
