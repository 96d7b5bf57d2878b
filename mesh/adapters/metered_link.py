"""Whether what goes over this device's link costs its owner money, as far as the system says.

Owns the question to NetworkManager: its command `nmcli`, where there is one, at most once a minute. It asks
the system's own daemon and no network. Whatever goes wrong counts as not metered. Must not know what anybody
concludes from it.

Source: nmcli(1), `device show`, and the enumeration NMMetered: yes and no are the owner's word, and
"yes (guessed)" comes from the kind of the link, or from what the network said (a phone that shares its data).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from enum import StrEnum

_COMMAND = ("-t", "-f", "GENERAL.METERED", "device", "show")
_PERIOD_S = 60.0
"""Between two questions: each is a process."""
_PATIENCE_S = 2.0
"""For an answer that takes 20 ms as a rule; meanwhile nothing else is seen of the device's state."""


class Metering(StrEnum):
    """Who says whether a link is metered."""

    YES = "yes"
    NO = "no"
    AUTO = "auto"
    """The system."""


class MeteredLink:
    """Asks now and then, and says what was answered last."""

    def __init__(
        self,
        ask: Callable[[], str | None] | None = None,
        now_s: Callable[[], float] = time.monotonic,  # noqa: TID251  asked in a thread, that has no loop
    ) -> None:
        self._ask = ask or ask_network_manager
        self._now_s = now_s
        self._asked_s: float | None = None
        self._is_metered = False

    def is_metered(self) -> bool:
        """Whether any link that is up is metered; may take two seconds, never raises."""
        now_s = self._now_s()
        if self._asked_s is None or now_s - self._asked_s >= _PERIOD_S:
            self._asked_s = now_s
            self._is_metered = _says_yes(self._ask() or "")
        return self._is_metered


def metering(word: Metering) -> Callable[[], bool]:
    """Return who tells whether the link is metered."""
    match word:
        case Metering.AUTO:
            return MeteredLink().is_metered
        case _:
            return lambda: word is Metering.YES


def ask_network_manager() -> str | None:
    """Return what nmcli says of each link of this device, a line each; None where it says nothing."""
    command = shutil.which("nmcli")
    if command is None:
        return None
    try:
        said = subprocess.run(
            [command, *_COMMAND],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
            env={**os.environ, "LC_ALL": "C"},  # else it answers in the owner's language
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.decode(errors="replace")


def _says_yes(answer: str) -> bool:
    """Read lines such as `GENERAL.METERED:yes (guessed)`; links that are down are `unknown`."""
    return any(line.partition(":")[2].startswith("yes") for line in answer.splitlines())
