"""What the system calls this device's processor.

Owns the reading of `/proc/cpuinfo`. Must not know what the name is kept with.
"""

from __future__ import annotations

import platform
from pathlib import Path


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name; empty where the system does not say."""
    try:
        lines = cpuinfo.read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
