"""The library of device kinds, links and model shapes, as data files with a reader."""

from simulator.profiles.reading import (
    device_profile,
    device_profiles,
    link_profile,
    link_profiles,
    model_spec,
    model_specs,
)
from simulator.profiles.types import BatteryProfile, DeviceProfile, Figure, LinkProfile, ThermalProfile

__all__ = [
    "BatteryProfile",
    "DeviceProfile",
    "Figure",
    "LinkProfile",
    "ThermalProfile",
    "device_profile",
    "device_profiles",
    "link_profile",
    "link_profiles",
    "model_spec",
    "model_specs",
]
