"""The text that the tiny model learns: a seeded grammar of notes, days and conversations of a home.

Owns what is said how often, and the form of a document. Must not know torch or tokens' ids; conversations
carry ChatML's marks as text, in the form of the model's own chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeVar

from benchmarks.tiny_mimo import answers
from benchmarks.tiny_mimo.home import PEOPLE, PLACES, ROOMS, THINGS
from benchmarks.tiny_mimo.sums import worked

END = "<|endoftext|>"
START_OF_TURN, END_OF_TURN = "<|im_start|>", "<|im_end|>"
SYSTEM = "You are the voice of a home."

_LARGEST = 99
_CONVERSATIONS = 0.75  # of all documents
_PLAIN_QUESTIONS = 0.2  # without capitals and marks, as people type

Choice = TypeVar("Choice")

Turn = tuple[str, str]
"""A question and its answer."""


def text(seed: int, num_characters: int) -> str:
    """Return the beginning of a seed's endless text, documents one after another."""
    parts, length = [], 0
    for document in documents(Random(seed)):
        parts.append(document)
        length += len(document)
        if length >= num_characters:
            break
    return "".join(parts)[:num_characters]


def documents(random: Random) -> Iterator[str]:
    """Yield documents without end, each closed by END."""
    while True:
        conversation = random.random() < _CONVERSATIONS
        yield (_conversation(random) if conversation else _prose(random)) + END


def chatml(turns: Sequence[Turn], system: str = "") -> str:
    """Write a conversation as the chat template does, answers included."""
    said = [("system", system)]
    for question, answer in turns:
        said += [("user", question), ("assistant", answer)]
    return "".join(f"{START_OF_TURN}{role}\n{content}{END_OF_TURN}\n" for role, content in said)


def turn(random: Random) -> Turn:
    """Return a question and its answer."""
    question, answer = random.choices(_QUESTIONS, _SHARES)[0](random)
    if random.random() < _PLAIN_QUESTIONS:
        question = question[0].lower() + question[1:].rstrip(".?")
    return question, answer


def day(random: Random) -> str:
    """Tell of a day: what people do, and when, from morning to evening."""
    hours = sorted(random.sample(range(6, 23), random.randint(3, 6)))
    sentences = [_event(random, hour) for hour in hours]
    return f"{' '.join(sentences)} Then the home is quiet."


def _conversation(random: Random) -> str:
    system = SYSTEM if random.random() < 0.15 else ""
    return chatml([turn(random) for _ in range(random.choices((1, 2, 3), (3, 2, 1))[0])], system)


def _prose(random: Random) -> str:
    return _one(random, (day, _note, _note, _dialogue))(random)


def _note(random: Random) -> str:
    """Several statements, one a line."""
    return "\n".join(turn(random)[1] for _ in range(random.randint(2, 4)))


def _dialogue(random: Random) -> str:
    first, second = random.sample(PEOPLE, 2)
    lines = (f'{first}: "{asked}"\n{second}: "{said}"' for asked, said in islice(_turns(random), 2))
    return "\n".join(lines)


def _turns(random: Random) -> Iterator[Turn]:
    while True:
        yield turn(random)


def _event(random: Random, hour: int) -> str:
    person, thing = _one(random, PEOPLE), _one(random, THINGS)
    minute = _one(random, ("00", "15", "30", "45"))
    doing = _one(random, (f"turns on the {thing}", f"turns off the {thing}", "cleans the room"))
    return f"At {hour:02}:{minute} {person} goes to the {PLACES[thing]} and {doing}."


def _one(random: Random, choices: Sequence[Choice]) -> Choice:
    return choices[random.randrange(len(choices))]


def _sum(random: Random) -> Turn:
    first, second = random.randint(0, _LARGEST), random.randint(0, _LARGEST)
    wording = _one(random, ("What is {}?", "How much is {}?", "Add up {}."))
    return wording.format(f"{first} + {second}"), worked(first, second)


def _place(random: Random) -> Turn:
    thing = _one(random, THINGS)
    return f"Where is the {thing}?", answers.place(thing)


def _contents(random: Random) -> Turn:
    room = _one(random, tuple(ROOMS))
    return f"What is in the {room}?", answers.contents(room)


def _draw(random: Random) -> Turn:
    thing = _one(random, THINGS)
    return f"How much does the {thing} draw?", answers.draw(thing)


def _together(random: Random) -> Turn:
    first, second = random.sample(THINGS, 2)
    question = f"How much do the {first} and the {second} draw together?"
    return question, answers.draw_together(first, second)


def _room(random: Random) -> Turn:
    room = _one(random, tuple(ROOMS))
    return f"Tell me about the {room}.", answers.about_room(room)


def _home(_random: Random) -> Turn:
    return "Tell me about the home.", answers.about_home()


def _switch(random: Random) -> Turn:
    thing, state = _one(random, THINGS), _one(random, ("on", "off"))
    wording = _one(random, ("Turn {} the {}.", "Please turn {} the {}."))
    return wording.format(state, thing), answers.switched(thing, state)


def _count(random: Random) -> Turn:
    first = random.randint(1, 60)
    last = first + random.randint(4, 25)
    return f"Count from {first} to {last}.", answers.counted(first, last)


def _story(random: Random) -> Turn:
    return "Tell me about a day.", day(random)


def _greeting(random: Random) -> Turn:
    return _one(random, ("Hello.", "Good morning.", "Who are you?")), answers.GREETING


_WEIGHED: dict[Callable[[Random], Turn], int] = {
    _sum: 10,
    _place: 2,
    _contents: 2,
    _draw: 2,
    _together: 4,
    _room: 2,
    _home: 1,
    _switch: 2,
    _count: 2,
    _story: 2,
    _greeting: 1,
}
_QUESTIONS, _SHARES = tuple(_WEIGHED), tuple(_WEIGHED.values())
