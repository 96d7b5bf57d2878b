"""The home that the grammar speaks of: who lives there, what stands where, and what it draws.

Owns the facts, which never change. Must not know sentences, chance or torch.
"""

from __future__ import annotations

PEOPLE = ("Anna", "Ben", "Clara", "David")

ROOMS = {
    "kitchen": ("kettle", "oven", "radio"),
    "living room": ("television", "speaker", "fan"),
    "bedroom": ("heater", "clock", "lamp"),
    "bathroom": ("washer", "dryer", "scale"),
    "hall": ("router", "doorbell", "camera"),
    "study": ("printer", "screen", "laptop"),
}
"""What stands in each room; each thing stands in one."""

WATTS = {
    "kettle": 88,
    "oven": 95,
    "radio": 14,
    "television": 64,
    "speaker": 22,
    "fan": 37,
    "heater": 79,
    "clock": 11,
    "lamp": 26,
    "washer": 83,
    "dryer": 91,
    "scale": 12,
    "router": 18,
    "doorbell": 10,
    "camera": 15,
    "printer": 45,
    "screen": 33,
    "laptop": 52,
}

PLACES = {thing: room for room, things in ROOMS.items() for thing in things}
THINGS = tuple(PLACES)
