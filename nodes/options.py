"""What the commands of the command line share: options, their types, and how to reach a mesh.

Owns the reading of a person's words into values. Must not know what the commands do.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

import click
import platformdirs

import mesh
from mesh.card import Skill
from mesh.client import DEFAULT_MAX_TOKENS, ChatOptions, Client
from mesh.config import DEFAULT_MESH
from mesh.decision import Privacy
from mesh.errors import BadSetting
from mesh.logic.rest import RestTime, parse_rest_time
from mesh.types import Address, Aim, DeviceClass, Drafting, Standby
from nodes.identity import MAX_NAME_LENGTH, check_device_name, is_device_name
from nodes.memory_size import parse_memory_size
from nodes.share import parse_share

DEFAULT_MODEL = "smollm2:135m"


def standard_input() -> TextIO:
    """Return what the command may read from; raise BadSetting where it was closed."""
    if sys.stdin is None:
        raise BadSetting("standard input is closed; there is nothing to read the prompt from")
    return sys.stdin


def default_data_dir() -> Path:
    """Where models and identities lie: MESH_DATA_DIR, or the place that the system has for such data."""
    named = os.environ.get("MESH_DATA_DIR")
    return Path(named) if named else platformdirs.user_data_path("ambient-mesh")


class MemorySize(click.ParamType[int]):
    """A size like 300MB."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size; a bad one is wrong usage."""
        return _usage(self, parse_memory_size, value)


class MeshName(click.ParamType[str]):
    """The name of a mesh; what may name a device may name a mesh."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name."""
        if not is_device_name(value):
            self.fail(f"{value[:80]!r} cannot name a mesh; use 1 to {MAX_NAME_LENGTH} printable characters")
        return value


class HostPort(click.ParamType[Address]):
    """An address like 192.168.1.20:7070."""

    name = "host:port"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Read an address; a bad one is wrong usage."""
        return _usage(self, Address.parse, value)


class BatteryShare(click.ParamType[float]):
    """A share like 30%."""

    name = "share"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a share; a bad one is wrong usage."""
        return _usage(self, parse_share, value)


class TimesOfDay(click.ParamType[RestTime]):
    """A part of each day like 22:00-07:00."""

    name = "from-to"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> RestTime:
        """Read the times; bad ones are wrong usage."""
        return _usage(self, parse_rest_time, value)


class DeviceName(click.ParamType[str]):
    """The name of a device, or the beginning of its id."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name."""
        return _usage(self, check_device_name, value)


class Seconds(click.ParamType[float]):
    """A time to wait, of at most an hour."""

    name = "seconds"

    def convert(self, value: float | str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the seconds."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= 3600:  # nor what is not a number
            self.fail(f"'{value}' is no time to wait; give seconds from 0 to 3600")
        return seconds


class IntegerList(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between: 1,2,3."""

    name = "integers"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the numbers."""
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value[:60]}' is not a list of whole numbers like 1,2,3")


T = TypeVar("T")


def _usage(kind: click.ParamType[T], read: Callable[[str], T], value: str) -> T:
    try:
        return read(value)
    except BadSetting as error:
        kind.fail(str(error))


DEVICE_CLASS = click.Choice([kind.value for kind in DeviceClass])

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    help="Folder of models and identities [default: MESH_DATA_DIR or the user's data folder].",
)
mesh_option = click.option(
    "--mesh",
    "mesh_name",
    type=MeshName(),
    default=DEFAULT_MESH,
    envvar="MESH_NAME",
    show_default=True,
    help="Which mesh.",
)
standby_option = click.option(
    "--standby",
    type=click.Choice([kind.value for kind in Standby]),
    default=Standby.NONE.value,
    show_default=True,
    callback=lambda ctx, param, value: Standby(value),
    help="Which layers get a warm copy on another device: none, those that fit, or all.",
)
aim_option = click.option(
    "--aim",
    type=click.Choice(["auto", *(kind.value for kind in Aim)]),
    default="auto",
    show_default=True,
    callback=lambda ctx, param, value: None if value == "auto" else Aim(value),
    help="What makes a plan the best: a token's time, or the number of them while many ask.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")
privacy_option = click.option(
    "--privacy",
    type=click.Choice([kind.value for kind in Privacy]),
    default=Privacy.MESH.value,
    show_default=True,
    help="How far the prompt may go: this device, the mesh, or beyond.",
)


def sampling_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options of an answer; the command receives them as `chat: ChatOptions`."""

    @functools.wraps(command)
    def with_chat(  # noqa: PLR0913  an option each
        *,
        max_tokens: int,
        temperature: float | None,
        top_p: float | None,
        seed: int | None,
        privacy: str,
        drafting: str | None,
        **rest: object,
    ) -> object:
        chat = ChatOptions(max_tokens=max_tokens, privacy=privacy)
        if temperature is not None:
            chat["temperature"] = temperature
        if top_p is not None:
            chat["top_p"] = top_p
        if seed is not None:
            chat["seed"] = seed
        if drafting is not None:
            chat["drafting"] = drafting
        return command(chat=chat, **rest)

    return _with(
        with_chat,
        click.option("--max-tokens", type=click.IntRange(1), default=DEFAULT_MAX_TOKENS, show_default=True),
        click.option(
            "--temperature",
            type=click.FloatRange(0),
            help="0 takes the most likely token [default: what the model's makers recommend, else 0].",
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(0, 1, min_open=True),
            help="Leave out the least likely tokens, beyond that probability [default: the same, else 1].",
        ),
        click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="The same seed, the same answer."),
        privacy_option,
        click.option(
            "--drafting",
            type=click.Choice([kind.value for kind in Drafting]),
            help="How tokens are guessed ahead; the text is the same [default: as the node has it, auto].",
        ),
    )


def answer_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options of an answer and of its model; the command receives them as `chat: ChatOptions`."""

    @functools.wraps(command)
    def with_model(*, model: str | None, skill: str | None, chat: ChatOptions, **rest: object) -> object:
        if model is not None:
            chat["model"] = model
        if skill is not None:
            chat["skill"] = skill
        return command(chat=chat, **rest)

    return _with(
        sampling_options(with_model),
        click.option(
            "--model", help="Which model; 'auto': the best that is there [default: the first of the node]."
        ),
        click.option(
            "--skill",
            type=click.Choice([skill.value for skill in Skill]),
            help="What it is to be good at, where none is named.",
        ),
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """How to reach a mesh."""

    peer: Address | None
    mesh_name: str
    wait_s: float

    def connect(self) -> AbstractAsyncContextManager[Client]:
        """Connect to one of its nodes; see `mesh.connect`."""
        peer = str(self.peer) if self.peer else None
        return mesh.connect(peer, mesh=self.mesh_name, wait_s=self.wait_s)


def client_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options by which a command reaches a mesh; it receives them as `reach: Reach`."""

    @functools.wraps(command)
    def with_reach(*, peer: Address | None, mesh_name: str, wait_s: float, **rest: object) -> object:
        return command(reach=Reach(peer, mesh_name, wait_s), **rest)

    return _with(
        with_reach,
        click.option(
            "--peer",
            type=HostPort(),
            envvar="MESH_PEER",
            help="A node to ask; by default one is discovered.",
        ),
        mesh_option,
        click.option(
            "--wait",
            "wait_s",
            type=Seconds(),
            default=2.0,
            show_default=True,
            help="Seconds to look for a node.",
        ),
    )


def _with(
    command: Callable[..., object], *options: Callable[[Callable[..., object]], Callable[..., object]]
) -> Callable[..., object]:
    for add in reversed(options):
        command = add(command)
    return command
