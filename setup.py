"""Builds the kernels of the native engine, where there is a C compiler; all else is in pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("mesh/engines/native")
# Contracting is spelled out in the source: the same bits on every processor rest on that. Loops that are
# written in vectors already are spoilt where the compiler joins their scalars to others.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-tree-slp-vectorize", "-Wno-psabi"]
THREADS = ["-pthread"] if os.name == "posix" else []

setup(
    ext_modules=[
        Extension(
            "mesh.engines.native._kernels",
            [str(KERNELS / "kernels.c")],
            depends=[str(header) for header in sorted(KERNELS.glob("*.h"))],
            extra_compile_args=[*FLAGS, *THREADS],
            extra_link_args=THREADS,
            optional=True,  # without it stages run on torch
        )
    ]
)
