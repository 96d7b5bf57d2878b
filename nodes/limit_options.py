"""The options by which an owner limits what a device does for others, and which others it uses.

Owns how they become one value, and which contradict each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import click

from mesh.adapters.metered_link import Metering
from mesh.errors import BadSetting
from mesh.logic.readiness import DEFAULT_LIMITS, ReadinessLimits
from mesh.logic.rest import RestTime
from nodes.options import BatteryShare, DeviceName, TimesOfDay
from nodes.owner_limits import OwnerLimits

_OPTIONS = (
    click.option(
        "--battery-floor",
        type=BatteryShare(),
        help="Hand over while the battery is below that and does not charge; 0% never does [default: 15%].",
    ),
    click.option(
        "--rest",
        type=TimesOfDay(),
        multiple=True,
        help="Let nobody use the device at that time of each day, such as 22:00-07:00.",
    ),
    click.option(
        "--metered",
        type=click.Choice(Metering, case_sensitive=False),
        default=Metering.AUTO.value,
        show_default=True,
        help="Hand over because the link costs money: always, never, or when the system says so.",
    ),
    click.option(
        "--distrust",
        "distrusted",
        type=DeviceName(),
        multiple=True,
        help="A device that answers of this one's gateway never use, by name or id.",
    ),
    click.option(
        "--ignore-conditions",
        is_flag=True,
        help="Stay, whatever battery, heat, link and the file 'departing' in the data folder say.",
    ),
)


def limit_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options of an owner's limits; the command receives them as `limits: OwnerLimits`."""

    @functools.wraps(command)
    def with_limits(
        *,
        battery_floor: float | None,
        rest: tuple[RestTime, ...],
        metered: Metering,
        distrusted: tuple[str, ...],
        ignore_conditions: bool,
        **others: object,
    ) -> object:
        if ignore_conditions:
            is_given = {"--battery-floor": battery_floor is not None, "--rest": bool(rest)}
            _check_none(is_given | {f"--metered {metered}": metered is not Metering.AUTO})
        limits = OwnerLimits(
            heeds_conditions=not ignore_conditions,
            readiness=DEFAULT_LIMITS if battery_floor is None else ReadinessLimits.above(battery_floor),
            rest=rest,
            metering=metered,
            distrusted=frozenset(distrusted),
        )
        return command(limits=limits, **others)

    with_options: Callable[..., object] = with_limits
    for add in reversed(_OPTIONS):
        with_options = add(with_options)
    return with_options


def _check_none(is_given: Mapping[str, bool]) -> None:
    for option, is_there in is_given.items():
        if is_there:
            raise BadSetting(f"with --ignore-conditions nobody heeds {option}; leave one of the two out")
