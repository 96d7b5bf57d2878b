"""How devices of given kinds would place a model: what `mesh plan` says in such a household.

Owns the household: devices as their profiles say, idle and on mains, which run the production node, announce
how fast they are and measure the ways between them. The first one is asked once that is done. Must not know
how plans are made or shown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.decision import Explanation
from mesh.errors import BadSetting
from mesh.logic.naming import meant
from mesh.logic.skills import Model
from mesh.store.cards import shipped_card
from mesh.types import DeviceClass
from simulator.parts import Parts
from simulator.profiles import device_profile, model_specs
from simulator.run import in_world
from simulator.scenario import Scenario, expand
from simulator.scenario.schema import Device
from simulator.units import Duration, Size
from simulator.world import World

MAX_DEVICES = 64
"""As many as the mesh looks for a chain among."""

USUAL: Mapping[DeviceClass, str] = {
    DeviceClass.PHONE: "xiaomi_15_ultra",
    DeviceClass.CAR: "car_8295",
    DeviceClass.TV: "android_tv",
    DeviceClass.FRIDGE: "smart_fridge",
    DeviceClass.SPEAKER: "smart_speaker",
    DeviceClass.WATCH: "watch",
    DeviceClass.LAPTOP: "laptop_ryzen_ai_340",
    DeviceClass.DESKTOP: "mac_mini_m4",
    DeviceClass.HUB: "raspberry_pi_5",
}
"""The profile that is meant by a class of devices."""

_MEETING_S = 60.0  # in virtual time: to meet, and to measure each way with both sizes of echoes


@dataclass(frozen=True, slots=True)
class Planned:
    """A device that is to be there."""

    name: str
    profile: str
    memory: Size | None = None
    """What its owner lends; None: the profile's usable memory."""


def parse_devices(text: str) -> tuple[Planned, ...]:
    """Read `phone,car=3GB,raspberry_pi_5`: classes and profiles, each with what it lends where that is given.

    Devices are called like their kind, a second phone phone-2. Raises BadSetting that says what is wrong.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) > MAX_DEVICES:
        raise BadSetting(f"{len(words)} devices are too many; give at most {MAX_DEVICES}")
    seen: Counter[str] = Counter()
    devices = []
    for word in words:
        kind, memory = _parts(word)
        seen[kind] += 1
        name = kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"
        devices.append(Planned(name, _profile(kind), memory))
    return tuple(devices)


def explain(model: str, devices: Sequence[Planned], link: str | None, context: int) -> Explanation:
    """Return how the first device would have a model answered, with so many positions of context at least.

    `link`: a link profile for all; None: each device's own. The same devices give the same plan. Raises
    BadSetting for what nobody knows, UnknownModel for a name that may mean several models, and
    InsufficientMemory where the devices have no room.
    """
    scenario = _scenario(known_model(model), devices, link)

    async def ask(world: World) -> Explanation:
        world.begin()
        await asyncio.sleep(_MEETING_S)
        client = await world.open_client(devices[0].name)
        return await client.explain("", context, model=scenario.models[0])

    return in_world(expand(scenario, scenario.seed), Parts(), ask)


def _scenario(model: str, devices: Sequence[Planned], link: str | None) -> Scenario:
    tables = (Device(name=d.name, profile=d.profile, link=link, memory=d.memory) for d in devices)
    return Scenario(
        name="plan",
        summary="devices that are asked for a plan",
        duration=Duration(_MEETING_S),
        devices=tuple(tables),
        models=(model,),
        keeps_messages=False,
    )


def known_model(wanted: str) -> str:
    """Return the model that a name means, of those whose shape is known; see `mesh.logic.naming.meant`."""
    names = [spec.name for spec in model_specs()]
    return wanted if wanted in names else meant(wanted, [Model(name, shipped_card(name)) for name in names])


def _parts(word: str) -> tuple[str, Size | None]:
    kind, separator, memory = word.partition("=")
    if not kind:
        raise BadSetting("a device has no name; write for instance phone,car=3GB,raspberry_pi_5")
    try:
        return kind, Size.read(memory) if separator else None
    except ValueError as error:
        raise BadSetting(f"{kind}: {error}") from error


def _profile(kind: str) -> str:
    """Name the profile of a class, or the profile itself; raise BadSetting naming the nearest."""
    usual = {device_class.value: name for device_class, name in USUAL.items()}
    return device_profile(usual.get(kind, kind)).name
