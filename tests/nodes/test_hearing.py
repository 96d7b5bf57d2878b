"""What a demo tells of an answer, in which order, and when it kills."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import pytest

from mesh.errors import CapacityLost
from mesh.messages import Piece, Routed
from mesh.types import Recovery, Summary
from nodes.demo.hearing import Hearing
from nodes.demo.kills import Kill
from nodes.demo.story import Ended, Event, Killed, Placed, Recovered, Said
from tests.nodes.shown import RECOVERY, WHOLE, WITHOUT_TV, piece, routed, summary


@dataclass(slots=True)
class Scripted:
    """An answer of which everything is known before."""

    script: Sequence[Routed | Piece | Exception]
    ending: Summary
    recoveries: tuple[Recovery, ...] = ()

    @property
    def summary(self) -> Summary:
        return self.ending

    async def events(self) -> AsyncGenerator[Routed | Piece]:
        for event in self.script:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Routed) and event.recovery:
                self.recoveries += (event.recovery,)
            yield event


@dataclass(slots=True)
class Seen:
    events: list[Event]
    killed: list[str]
    heard: Hearing

    @property
    def told(self) -> list[Event]:
        """Without the times of the clock."""
        return [Said(e.text, e.num_tokens, 0.0) if isinstance(e, Said) else e for e in self.events]


def hearing(answer: Scripted, *kills: Kill) -> Seen:
    events: list[Event] = []
    killed: list[str] = []
    return Seen(events, killed, Hearing(answer, kills, killed.append, events.append))


LOSS: list[Routed | Piece | Exception] = [
    routed(WHOLE),
    piece("a", 1),
    piece("b", 2),
    routed(WITHOUT_TV, RECOVERY),
    piece("c", 3),
]


async def test_a_loss_is_told_where_it_happened() -> None:
    seen = hearing(Scripted(LOSS, summary(3, RECOVERY)), Kill("tv", 2))
    await seen.heard.listen()
    assert seen.told == [
        Placed(WHOLE),
        Said("a", 1, 0.0),
        Said("b", 1, 0.0),
        Killed("tv", 2),
        Placed(WITHOUT_TV),
        Recovered(RECOVERY),
        Said("c", 1, 0.0),
        Ended(summary(3, RECOVERY)),
    ]
    assert (seen.killed, seen.heard.text, seen.heard.missed) == (["tv"], "abc", ())


async def test_a_recovery_that_only_the_summary_has_is_told_before_the_end() -> None:
    answer = Scripted([routed(WHOLE), piece("a", 1)], summary(1, RECOVERY))
    seen = hearing(answer)
    await seen.heard.listen()
    assert seen.told[2:] == [Recovered(RECOVERY), Ended(answer.summary)]


async def test_a_token_that_never_comes_kills_nobody() -> None:
    seen = hearing(Scripted([routed(WHOLE), piece("a", 1)], summary(1)), Kill("tv", 2))
    await seen.heard.listen()
    assert (seen.killed, seen.heard.missed) == ([], (Kill("tv", 2),))


async def test_tokens_count_whether_they_are_text_yet_or_not() -> None:
    seen = hearing(Scripted([routed(WHOLE), piece("", 1, 2), piece("é", 3)], summary(3)), Kill("tv", 2))
    await seen.heard.listen()
    assert seen.told[1:3] == [Said("", 2, 0.0), Killed("tv", 2)]


async def test_the_first_piece_gives_the_time_and_no_other() -> None:
    seen = hearing(Scripted([routed(WHOLE), piece("a", 1), piece("b", 2)], summary(2)))
    await seen.heard.listen()
    first = seen.events[1]
    assert isinstance(first, Said)
    assert seen.heard.first_s == first.at_s


async def test_an_answer_that_fails_raises_after_what_came() -> None:
    lost = CapacityLost("no room")
    seen = hearing(Scripted([routed(WHOLE), piece("a", 1), lost], summary(1)), Kill("tv", 1))
    with pytest.raises(CapacityLost, match="no room"):
        await seen.heard.listen()
    assert seen.told == [Placed(WHOLE), Said("a", 1, 0.0), Killed("tv", 1)]


async def test_what_is_thought_is_no_part_of_the_text() -> None:
    pieces = Piece(1, "", (1,), "so "), Piece(1, "To", (2,), "on"), piece("kyo", 3)
    seen = hearing(Scripted((routed(WHOLE), *pieces), summary(3)))
    await seen.heard.listen()
    assert (seen.heard.reasoning, seen.heard.text) == ("so on", "Tokyo")
    said = [(event.reasoning, event.text) for event in seen.events if isinstance(event, Said)]
    assert said == [("so ", ""), ("on", "To"), ("", "kyo")]
