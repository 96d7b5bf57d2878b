"""The options of the commands that compute: with which engine, and on how many threads.

Apart from `nodes.options`, which every command imports: to know the engines takes numpy.
"""

from __future__ import annotations

import click

from mesh.engines.choosing import EngineName

threads_option = click.option(
    "--threads", type=click.IntRange(1), help="Threads that compute [default: physical cores]."
)
engine_option = click.option(
    "--engine",
    type=click.Choice(EngineName, case_sensitive=False),
    default=EngineName.AUTO.value,
    show_default=True,
    help="What computes: our own kernels, torch, a graphics card, or the best that is here.",
)
