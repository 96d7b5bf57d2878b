"""`mesh up`: run a node agent on this device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from mesh.adapters import event_loop
from mesh.engines.choosing import EngineName
from mesh.types import Address, Aim, DeviceClass, NodeRecord, Standby
from mesh.upstream import UpstreamCard
from nodes.agent import AgentOptions, Announcements, exposure_warning, run_agent
from nodes.engine_options import engine_option, threads_option
from nodes.limit_options import limit_options
from nodes.options import (
    DEVICE_CLASS,
    HostPort,
    MemorySize,
    aim_option,
    data_dir_option,
    mesh_option,
    standby_option,
)
from nodes.owner_limits import OwnerLimits
from nodes.probe import probe_device
from nodes.starting import limit_lines, server_lines, started_line
from nodes.terminal import without_controls


@click.command()
@click.option("--name", help="Name of the device [default: the host's name].")
@click.option("--class", "device_class", type=DEVICE_CLASS, help="Kind of device [default: guessed].")
@click.option("--memory", type=MemorySize(), help="What the mesh may use [default: half of what is free].")
@click.option("--spare", type=MemorySize(), help="Part of that to keep free for standing in [default: none].")
@standby_option
@aim_option
@click.option(
    "--draft-model",
    metavar="MODEL",
    help="A small model here that guesses tokens for larger ones of its vocabulary; the text is the same.",
)
@threads_option
@engine_option
@click.option(
    "--listen",
    type=HostPort(),
    default="127.0.0.1:0",
    show_default=True,
    help="Where to listen; port 0 takes a free one.",
)
@click.option("--peer", "peers", type=HostPort(), multiple=True, help="A node to find without mDNS.")
@mesh_option
@data_dir_option
@limit_options
@click.option(
    "--no-probe", is_flag=True, help="Do not measure this device's speed, though it was never measured."
)
@click.option("--until-eof", is_flag=True, hidden=True, help="Leave at once when standard input ends.")
def command(  # noqa: PLR0913  an option each
    name: str | None,
    device_class: str | None,
    memory: int | None,
    spare: int | None,
    standby: Standby,
    aim: Aim | None,
    draft_model: str | None,
    threads: int | None,
    engine: EngineName,
    listen: Address,
    peers: tuple[Address, ...],
    mesh_name: str,
    data_dir: Path,
    limits: OwnerLimits,
    no_probe: bool,
    until_eof: bool,
) -> None:
    """Run a node agent on this device until Ctrl-C or SIGTERM.

    Before it leaves it hands over what it is working on. It also hands over while the battery is low, while
    the device is hot, on a link that costs money, at times at which you let it rest, and while a file named
    'departing' is in the data folder: for instance a car's system creates it when the engine starts, and
    removes it later. The first time it also measures, when there is nothing to do, how fast this device
    computes, which takes two seconds; `mesh bench device` does that too.
    """
    _log_to_stderr()
    if warning := exposure_warning(listen):
        click.echo(f"mesh: {warning}", err=True)
    device = probe_device()
    options = AgentOptions(
        name=name,
        default_name=device.name,
        device_class=DeviceClass(device_class or device.device_class),
        memory_bytes=memory or device.memory_bytes,
        spare_bytes=spare or 0,
        standby=standby,
        aim=aim,
        draft_model=draft_model,
        num_threads=threads or device.num_threads,
        engine=engine,
        listen=listen,
        peers=peers,
        data_dir=data_dir,
        mesh=mesh_name,
        until_eof=until_eof,
        limits=limits,
        measures_speed=not no_probe,
    )
    announce = Announcements(partial(_say_started, options), _say_handing_over)
    event_loop.run(run_agent(options, announce))


def _say_started(options: AgentOptions, record: NodeRecord, servers: Sequence[UpstreamCard]) -> None:
    lines = started_line(record, options.memory_bytes), *limit_lines(options.limits), *server_lines(servers)
    click.echo("\n".join(lines))


def _say_handing_over() -> None:
    click.echo("handing over; press Ctrl-C again to leave at once")


class _Format(logging.Formatter):
    """A line with its time; the names of other devices in it cannot steer the terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return without_controls(super().format(record))


def _log_to_stderr() -> None:
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(_Format())
    logging.basicConfig(level=logging.WARNING, handlers=[to_stderr])
    logging.getLogger("mesh").setLevel(logging.INFO)
