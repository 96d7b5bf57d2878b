"""Reads profiles from the package's data files.

Owns the files' form: `devices/NAME.toml`, one for each kind of device; `links.toml`, `models.toml` and
`thermal.toml` with one table for each name. A figure is a table of its value with either a source or the
mark `unsourced = true`. Must not know what the figures are used for.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from typing import TypeVar

import msgspec

from mesh.errors import BadSetting
from mesh.spec import ModelSpec
from mesh.types import DeviceClass, Digest
from simulator.profiles.types import BatteryProfile, DeviceProfile, Figure, LinkProfile, ThermalProfile

T = TypeVar("T")


class FigureTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number in a file, with its source or the mark that it has none."""

    value: float
    source: str | None = None
    unsourced: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.unsourced == bool(self.source):
            raise ValueError("a figure needs either a source or 'unsourced = true'")


class DeviceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `devices/`."""

    title: str
    device_class: DeviceClass
    link: str
    installed_bytes: FigureTable
    usable_bytes: FigureTable
    bandwidth_bytes_per_s: FigureTable
    decode_efficiency: FigureTable
    prefill_flops: FigureTable
    load_bytes_per_s: FigureTable
    frame_overhead_s: FigureTable
    message_overhead_s: FigureTable
    idle_w: FigureTable
    active_w: FigureTable
    battery_wh: FigureTable | None = None
    thermal: str | None = None


class LinkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of `links.toml`."""

    title: str
    is_shared: bool
    carries_model: bool
    rate_bps: FigureTable
    delay_s: FigureTable
    jitter_s: FigureTable
    loss: FigureTable


class ThermalTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of `thermal.toml`."""

    degrees_per_w: FigureTable
    time_constant_s: FigureTable
    warm_c: FigureTable
    throttled_c: FigureTable
    critical_c: FigureTable
    hysteresis_c: FigureTable
    warm_factor: FigureTable
    throttled_factor: FigureTable
    critical_factor: FigureTable


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of `models.toml`."""

    architecture: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    context_length: int
    rope_base: float
    rms_norm_eps: float
    tied_embeddings: bool
    has_mtp: bool = False
    sha256: str | None = None


@cache
def device_profile(name: str) -> DeviceProfile:
    """Return a kind of device; raise BadSetting naming the nearest known name."""
    _must_be_known("device profile", name, device_names())
    where = f"devices/{name}.toml"
    table = _convert(where, _read(where), DeviceTable)
    thermal = _thermal_table(where, table.thermal)
    _must_be_known(f"link of {where}", table.link, _links())
    figures = _figures(table) + (_figures(thermal, "thermal.") if thermal else ())
    values = {figure.name: figure.value for figure in figures}
    return DeviceProfile(
        name=name,
        title=table.title,
        device_class=table.device_class,
        link=table.link,
        installed_bytes=round(values["installed_bytes"]),
        usable_bytes=round(values["usable_bytes"]),
        bandwidth_bytes_per_s=values["bandwidth_bytes_per_s"],
        decode_efficiency=values["decode_efficiency"],
        prefill_flops=values["prefill_flops"],
        load_bytes_per_s=values["load_bytes_per_s"],
        frame_overhead_s=values["frame_overhead_s"],
        message_overhead_s=values["message_overhead_s"],
        idle_w=values["idle_w"],
        active_w=values["active_w"],
        battery=BatteryProfile(values["battery_wh"]) if table.battery_wh else None,
        thermal=_thermal_profile(values) if thermal else None,
        figures=figures,
    )


@cache
def device_names() -> tuple[str, ...]:
    """Names of all kinds of devices, in order."""
    files = resources.files(__package__).joinpath("devices").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def device_profiles() -> tuple[DeviceProfile, ...]:
    """All kinds of devices, by name."""
    return tuple(device_profile(name) for name in device_names())


def link_profile(name: str) -> LinkProfile:
    """Return a kind of link; raise BadSetting naming the nearest known name."""
    _must_be_known("link profile", name, _links())
    return _links()[name]


def link_profiles() -> tuple[LinkProfile, ...]:
    """All kinds of links, by name."""
    return tuple(_links().values())


def model_spec(name: str) -> ModelSpec:
    """Return a model's shape; raise BadSetting naming the nearest known name."""
    _must_be_known("model", name, _models())
    return _models()[name]


def model_specs() -> tuple[ModelSpec, ...]:
    """Shapes of all models, by name."""
    return tuple(_models().values())


@cache
def _links() -> Mapping[str, LinkProfile]:
    tables = _convert("links.toml", _read("links.toml"), dict[str, LinkTable])
    return {name: _link(name, tables[name]) for name in sorted(tables)}


def _link(name: str, table: LinkTable) -> LinkProfile:
    figures = _figures(table)
    rate_bps, delay_s, jitter_s, loss = (figure.value for figure in figures)
    return LinkProfile(
        name=name,
        title=table.title,
        is_shared=table.is_shared,
        carries_model=table.carries_model,
        rate_bps=rate_bps,
        delay_s=delay_s,
        jitter_s=jitter_s,
        loss=loss,
        figures=figures,
    )


@cache
def _models() -> Mapping[str, ModelSpec]:
    tables = _convert("models.toml", _read("models.toml"), dict[str, ModelTable])
    return {name: _model(name, tables[name]) for name in sorted(tables)}


def _model(name: str, table: ModelTable) -> ModelSpec:
    digest = table.sha256 or hashlib.sha256(f"the shape of {name}".encode()).hexdigest()
    shape = msgspec.structs.asdict(table)
    del shape["sha256"]
    return ModelSpec(name=name, digest=Digest(digest), **shape)


def _thermal_table(where: str, name: str | None) -> ThermalTable | None:
    if name is None:
        return None
    tables = _convert("thermal.toml", _read("thermal.toml"), dict[str, ThermalTable])
    _must_be_known(f"thermal profile of {where}", name, tables)
    return tables[name]


def _thermal_profile(values: Mapping[str, float]) -> ThermalProfile:
    return ThermalProfile(**{field.name: values[f"thermal.{field.name}"] for field in fields(ThermalProfile)})


def _figures(table: msgspec.Struct, prefix: str = "") -> tuple[Figure, ...]:
    """Collect a table's figures in the order of its fields."""
    return tuple(
        Figure(prefix + name, content.value, content.source, content.note)
        for name, content in msgspec.structs.asdict(table).items()
        if isinstance(content, FigureTable)
    )


def _read(path: str) -> dict[str, object]:
    text = resources.files(__package__).joinpath(path).read_text("utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{path} is not TOML: {error}") from error


def _convert(where: str, content: dict[str, object], kind: type[T]) -> T:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{where}: {error}") from error


def _must_be_known(what: str, name: str, known: Iterable[str]) -> None:
    names = sorted(known)
    if name in names:
        return
    part_of = [longer for longer in names if name and name.lower() in longer]
    close = part_of or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(names)}"
    raise BadSetting(f"no {what} is called {name[:80]!r}; {hint}")
