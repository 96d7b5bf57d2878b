"""Which devices of a demo are killed, and when.

Owns the reading of `--kill NAME@TOKEN` and the account of what is still to be killed. Pure: who kills is not
here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.errors import BadSetting
from nodes.demo.household import DemoDevice

_TOKEN = re.compile(r"0*([1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kill:
    """One device to be killed."""

    name: str
    token: int
    """When so many tokens of the answer have come, from 1."""


def parse_kills(texts: Sequence[str], devices: Sequence[DemoDevice], max_tokens: int) -> tuple[Kill, ...]:
    """Read each `NAME@TOKEN`; sorted by token, those of one token in the order given.

    Raises BadSetting for a name that is no device's, a token that the answer cannot have, or a device that is
    killed twice.
    """
    kills = [_parse(text) for text in texts]
    for kill in kills:
        _check(kill, [device.name for device in devices], max_tokens)
    name, times = Counter(kill.name for kill in kills).most_common(1)[0] if kills else ("", 0)
    if times > 1:
        raise BadSetting(f"{name} cannot be killed {times} times; give one --kill for each device")
    return tuple(sorted(kills, key=lambda kill: kill.token))


def _parse(text: str) -> Kill:
    name, at, token = text.rpartition("@")
    number = _TOKEN.fullmatch(token)
    if not at or not name:
        raise BadSetting(f"{text[:80]!r} does not say whom to kill when; write NAME@TOKEN, for instance tv@8")
    if number is None:
        raise BadSetting(
            f"{token[:80]!r} is no token to kill {name[:80]} at; give a number from 1, like tv@8"
        )
    return Kill(name, int(number[1]))


def _check(kill: Kill, names: Sequence[str], max_tokens: int) -> None:
    if kill.name not in names:
        known = ", ".join(names)
        raise BadSetting(f"there is no device '{kill.name[:80]}' to kill; the demo has {known}")
    if kill.token > max_tokens:
        raise BadSetting(
            f"{kill.name} cannot be killed at token {kill.token}: the answer ends after {max_tokens} tokens; "
            "give an earlier one, or more --max-tokens"
        )


class KillList:
    """What is still to be killed while an answer comes."""

    def __init__(self, kills: Sequence[Kill]) -> None:
        self._left = list(kills)
        self._num_tokens = 0

    @property
    def num_tokens(self) -> int:
        """How many tokens have come."""
        return self._num_tokens

    @property
    def left(self) -> tuple[Kill, ...]:
        """Those whose token has not come."""
        return tuple(self._left)

    def heard(self, num_tokens: int) -> list[Kill]:
        """Count tokens that came; return those to be killed now, once each."""
        self._num_tokens += num_tokens
        due = [kill for kill in self._left if kill.token <= self._num_tokens]
        self._left = self._left[len(due) :]
        return due


def missed_line(missed: Sequence[Kill], num_tokens: int) -> str:
    """Say that an answer ended before some were killed."""
    names = [kill.name for kill in missed]
    who = f"{names[0]} was" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} were"
    tokens = "1 token" if num_tokens == 1 else f"{num_tokens} tokens"
    return f"the answer had only {tokens}, so {who} not killed"
