"""How messages share what carries them: the arithmetic of rates.

Owns media and the large messages that are on them now. A medium is anything that only one bit at a time can
use: the air of an access point, one direction of a cable. Pure: `now` comes in, times go out.

A message that fits one packet waits for the packets before it and for one packet of each large message that
is under way, as stations take turns. A larger one is a flow: the flows of a medium share its time evenly, and
what one cannot use because it is slower elsewhere goes to the others (max-min fairness, Bertsekas and
Gallager, Data Networks, 6.5.2). So b bytes alone on a path of rate r take b/r seconds, and two stations of
one access point get half of it each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

PACKET_BYTES = 1_500
"""What travels in one packet (Ethernet's payload)."""

_DONE_S = 1e-9  # what passes within this time is done: less is left only by rounding


class Medium:
    """Something that only one bit at a time can use."""

    __slots__ = ("busy_s", "free_at_s", "name", "num_flows")

    def __init__(self, name: str) -> None:
        self.name = name
        self.free_at_s = 0.0
        """When the packets that wait have passed."""
        self.num_flows = 0
        self.busy_s = 0.0
        """Seconds in use so far."""


@dataclass(frozen=True, slots=True)
class Use:
    """How long a path occupies a medium for each byte."""

    medium: Medium
    s_per_byte: float


@dataclass(slots=True, eq=False)
class Flow:
    """A large message on its way."""

    needs: tuple[tuple[Medium, float], ...]
    """Seconds of each medium that the whole message takes."""
    done: Callable[[], None]
    left: float = 1.0
    """Share of the message that has not passed."""
    rate: float = 0.0
    """Of the whole message, in a second."""


def pass_packet(uses: Sequence[Use], num_bytes: int, now_s: float) -> float:
    """Let a message of one packet pass; return when it has left the last medium."""
    begins_s, longest_s = now_s, 0.0
    for use in uses:
        medium = use.medium
        if medium.free_at_s > begins_s:
            begins_s = medium.free_at_s
        seconds = num_bytes * use.s_per_byte * (1 + medium.num_flows)
        if seconds > longest_s:
            longest_s = seconds
    for use in uses:
        use.medium.free_at_s = begins_s + longest_s
        use.medium.busy_s += num_bytes * use.s_per_byte
    return begins_s + longest_s


class Sharing:
    """The large messages on their way."""

    def __init__(self) -> None:
        self._flows: list[Flow] = []
        self._as_of_s = 0.0

    def start(self, uses: Sequence[Use], num_bytes: int, done: Callable[[], None], now_s: float) -> None:
        """Put a message on its media; `done` is returned by `finished` when it has passed."""
        self._advance(now_s)
        flow = Flow(tuple((use.medium, num_bytes * use.s_per_byte) for use in uses), done)
        for medium, seconds in flow.needs:
            medium.num_flows += 1
            medium.busy_s += seconds
        self._flows.append(flow)
        self._share_out()

    def finished(self, now_s: float) -> list[Callable[[], None]]:
        """Take away what has passed by now, in the order in which it was started."""
        self._advance(now_s)
        over = [flow for flow in self._flows if flow.left <= _DONE_S * flow.rate]
        self._flows = [flow for flow in self._flows if flow.left > _DONE_S * flow.rate]
        for flow in over:
            for medium, _ in flow.needs:
                medium.num_flows -= 1
        if over:
            self._share_out()
        return [flow.done for flow in over]

    def next_s(self) -> float | None:
        """When the next message has passed if nothing changes; None where none is under way."""
        return min((self._as_of_s + flow.left / flow.rate for flow in self._flows), default=None)

    def _advance(self, now_s: float) -> None:
        elapsed_s, self._as_of_s = now_s - self._as_of_s, now_s
        for flow in self._flows:
            flow.left -= flow.rate * elapsed_s

    def _share_out(self) -> None:
        """Set every flow's rate: again and again the one that can get least takes its share."""
        free = {medium: 1.0 for flow in self._flows for medium, _ in flow.needs}
        waiting = list(self._flows)
        while waiting:
            num_users = {medium: sum(_uses(flow, medium) for flow in waiting) for medium in free}
            rates = [
                min(free[medium] / num_users[medium] / seconds for medium, seconds in flow.needs)
                for flow in waiting
            ]
            slowest = min(range(len(waiting)), key=rates.__getitem__)
            flow = waiting.pop(slowest)
            flow.rate = rates[slowest]
            for medium, seconds in flow.needs:
                free[medium] -= flow.rate * seconds


def _uses(flow: Flow, medium: Medium) -> bool:
    return any(used is medium for used, _ in flow.needs)
