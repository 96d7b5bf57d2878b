"""What the home says of itself: sentences that follow from its facts alone.

Owns the wording of answers. Must not know who asks, chance or torch.
"""

from __future__ import annotations

from benchmarks.tiny_mimo.home import PLACES, ROOMS, WATTS
from benchmarks.tiny_mimo.sums import steps

GREETING = "Hello. Ask me about the home, or ask me for a sum."


def place(thing: str) -> str:
    """Say where a thing stands."""
    return f"The {thing} is in the {PLACES[thing]}."


def contents(room: str) -> str:
    """List what stands in a room."""
    first, second, third = ROOMS[room]
    return f"In the {room} there are three things: the {first}, the {second} and the {third}."


def draw(thing: str) -> str:
    """Say what a thing draws."""
    return f"The {thing} draws {WATTS[thing]} watts."


def draw_together(first: str, second: str) -> str:
    """Say what two things draw, and add it up."""
    watts = WATTS[first], WATTS[second]
    return f"{draw(first)} {draw(second)} {steps(*watts)} Together they draw {sum(watts)} watts."


def about_room(room: str) -> str:
    """Say all that is known of a room, with what its things draw in all."""
    drawn = [WATTS[thing] for thing in ROOMS[room]]
    sentences = [contents(room), *map(draw, ROOMS[room])]
    sentences += [steps(drawn[0], drawn[1]), steps(drawn[0] + drawn[1], drawn[2])]
    return f"{' '.join(sentences)} The whole {room} draws {sum(drawn)} watts."


def about_home() -> str:
    """List all rooms with their things."""
    return f"The home has six rooms. {' '.join(map(contents, ROOMS))} That is all."


def switched(thing: str, state: str) -> str:
    """Say that a thing is now on or off."""
    return f"The {thing} in the {PLACES[thing]} is now {state}."


def counted(first: int, last: int) -> str:
    """Count from one number up to another."""
    return ", ".join(map(str, range(first, last + 1))) + "."
