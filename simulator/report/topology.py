"""Where devices hang on their access points, as the geometry of a drawing.

Owns two forms: cards around each access point for a few devices, and a field of small squares for many.
Pure; what it looks like is the page's concern.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.report.words import count, size
from simulator.result import RunResult
from simulator.script import DeviceScript, LanScript, LinkScript

CARD_WIDTH, CARD_HEIGHT = 148, 50
ROUTER_RADIUS = 30

_MOST_CARDS = 12
"""Devices around one access point whose cards do not touch on the ellipse below."""
_MOST_DRAWN_LANS = 6
_MOST_NAMED = 150
_MOST_LANS = 700
"""Of the small form; an apartment block of 600 homes fits."""
_SQUARE, _GAP, _IN_A_ROW = 11, 3, 8


@dataclass(frozen=True, slots=True)
class Card:
    """A device beside its access point; x and y are its centre, the label stands on its link."""

    name: str
    profile: str
    link: str
    rate: str
    is_shared: bool
    x: float
    y: float
    label_x: float
    label_y: float
    battery: str
    lent: str
    peak_part: float
    """Peak of memory in use, of what is lent."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One local network, drawn; the access point is at 0, 0."""

    lan: str
    radio: str
    cards: tuple[Card, ...]
    view: str
    """The part of the plane that is shown: left, top, width, height."""
    alternative: str


@dataclass(frozen=True, slots=True)
class Field:
    """One local network as squares, one for each device: the paths of those on a shared medium and not."""

    lan: str
    shared: str
    wired: str
    height: int
    title: str
    devices: tuple[DeviceScript, ...]
    """Where there is room to name each; else empty."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Exactly one of both forms is filled."""

    drawings: tuple[Drawing, ...]
    fields: tuple[Field, ...]
    note: str


def topology(result: RunResult) -> Topology:
    """Return the form that fits the number of devices."""
    homes = {lan.name: [d for d in result.script.devices if d.lan == lan.name] for lan in _few(result)}
    is_small = len(result.script.lans) <= _MOST_DRAWN_LANS
    if is_small and all(len(devices) <= _MOST_CARDS for devices in homes.values()):
        peaks = {device.name: device.peak_memory_bytes for device in result.devices}
        drawn = [_drawing(lan, homes[lan.name], peaks) for lan in result.script.lans]
        return Topology(tuple(drawn), (), _paths(result))
    is_named = len(result.script.devices) <= _MOST_NAMED
    fields = tuple(_field(name, devices, is_named) for name, devices in homes.items())
    return Topology((), fields, _left_out(result))


def _few(result: RunResult) -> tuple[LanScript, ...]:
    return result.script.lans[:_MOST_LANS]


def _left_out(result: RunResult) -> str:
    num = len(result.script.lans)
    return f"Shown are the first {_MOST_LANS} of {num:,} networks." if num > _MOST_LANS else ""


def _paths(result: RunResult) -> str:
    paths = [
        f"{p.source} → {p.target} ({_rate(p.rate_bps)}, {p.delay_s * 1e3:g} ms)" for p in result.script.paths
    ]
    return f"Direct paths beside the access points: {', '.join(paths[:20])}." if paths else ""


def _drawing(lan: LanScript, devices: list[DeviceScript], peaks: dict[str, int]) -> Drawing:
    across, down = (340.0, 110.0) if len(devices) <= 6 else (390.0, 200.0)
    turn = 2 * math.pi / max(1, len(devices))
    start = math.pi if len(devices) % 2 == 0 else -math.pi / 2
    start += turn / 2 if len(devices) == 4 else 0.0
    start = math.pi if len(devices) == 1 else start
    cards = tuple(
        _card(device, (across * math.cos(start + place * turn), down * math.sin(start + place * turn)), peaks)
        for place, device in enumerate(devices)
    )
    said = "; ".join(f"{card.name}, {card.profile}, on {card.link}" for card in cards)
    view = _view(across, [card.y for card in cards])
    return Drawing(lan.name, lan.radio, cards, view, f"{count(len(cards), 'device')}: {said}.")


def _view(across: float, heights: list[float]) -> str:
    """As wide as for every drawing of this size, as high as the cards and the access point ask."""
    half = across + CARD_WIDTH / 2 + 8
    top = min([-ROUTER_RADIUS, *(y - CARD_HEIGHT / 2 for y in heights)]) - 12
    bottom = max([ROUTER_RADIUS, *(y + CARD_HEIGHT / 2 for y in heights)]) + 12
    return f"{-half:.0f} {top:.0f} {2 * half:.0f} {bottom - top:.0f}"


def _card(device: DeviceScript, centre: tuple[float, float], peaks: dict[str, int]) -> Card:
    level, label = device.battery_level, _middle_of_link(*centre)
    peak_bytes = peaks.get(device.name, 0)
    return Card(
        name=device.name,
        profile=device.profile,
        link=device.link.kind,
        rate=_rates(device.link),
        is_shared=device.link.is_shared,
        x=round(centre[0], 1),
        y=round(centre[1], 1),
        label_x=label[0],
        label_y=label[1],
        battery="on mains" if level is None else f"battery {level * 100:.0f} % at the start",
        lent=f"{size(device.memory_bytes)} lent, {size(peak_bytes)} used at most",
        peak_part=min(1.0, peak_bytes / device.memory_bytes) if device.memory_bytes else 0.0,
    )


def _middle_of_link(x: float, y: float) -> tuple[float, float]:
    """Half way between the edge of the access point and the edge of the card."""
    length = math.hypot(x, y)
    across = CARD_WIDTH / 2 / abs(x) if abs(x) > 1e-6 else math.inf
    down = CARD_HEIGHT / 2 / abs(y) if abs(y) > 1e-6 else math.inf
    part = (ROUTER_RADIUS / length + 1 - min(across, down)) / 2
    return round(x * part, 1), round(y * part, 1)


def _rates(link: LinkScript) -> str:
    delay = f"{link.delay_s * 1e3:g} ms"
    if link.up_rate_bps == link.down_rate_bps:
        return f"{_rate(link.up_rate_bps)}, {delay}"
    return f"{_rate(link.up_rate_bps)} up, {_rate(link.down_rate_bps)} down, {delay}"


def _rate(bits_per_s: float) -> str:
    for unit, name in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits_per_s >= unit:
            return f"{bits_per_s / unit:.3g} {name}"
    return f"{bits_per_s:.3g} bit/s"


def _field(lan: str, devices: list[DeviceScript], is_named: bool) -> Field:
    squares: dict[bool, list[str]] = {True: [], False: []}
    for place, device in enumerate(devices):
        row, column = divmod(place, _IN_A_ROW)
        at = f"M{column * (_SQUARE + _GAP)} {row * (_SQUARE + _GAP)}h{_SQUARE}v{_SQUARE}h-{_SQUARE}z"
        squares[device.link.is_shared].append(at)
    rows = max(1, math.ceil(len(devices) / _IN_A_ROW))
    kinds = ", ".join(dict.fromkeys(device.link.kind for device in devices))
    title = f"{lan}: {count(len(devices), 'device')} on {kinds or 'no link'}"
    return Field(
        lan,
        "".join(squares[True]),
        "".join(squares[False]),
        rows * (_SQUARE + _GAP),
        title,
        tuple(devices) if is_named else (),
    )
