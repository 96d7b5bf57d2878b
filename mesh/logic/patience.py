"""When a token is overdue, and which stage keeps it: devices that take everything and do little or nothing.

Owns the deadlines, which follow what was measured, and the judgement. Pure: when tokens come, and what stages
say of their progress, comes in. Must not know what is done about a culprit.

A stage is to blame when it has been at one batch for many times as long as such a batch takes there, or when
the frame, or the token, is neither before it nor behind it. That a frame waits while the stage works for
others is no fault: stages are fair, and each batch has its own measure. One look is not enough for either:
one slow step is no illness, and what is under way on bad Wi-Fi may take a second.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesh.logic.pace import RunningMean
from mesh.messages import Progress

LOOK_AGAIN_S = 0.25
"""From one look to the next."""

_TIMES = 8.0  # as long as a rule: what else runs on a device may slow it to a quarter now and then
_LEAST_S = 0.5  # below that nobody minds
_UNKNOWN_S = 15.0  # of a frame whose like was never measured: half of what an answer waits at most
_FIRST_S = 2.0  # until the first token, whose gap nothing is known of
_LOOKS_WHERE_SLOW = 3
_LOOKS_WHERE_NOTHING_CAME = 8  # two seconds: three retransmissions of TCP in a row


class Patience:
    """How long one answer waits before it looks where its token is, and whom it blames at last."""

    def __init__(self) -> None:
        self._gap = RunningMean()
        self._found: tuple[int, bool] | None = None
        self._num_looks = 0

    @property
    def overdue_s(self) -> float:
        """So long after the last token, or after the route was opened, the next is overdue."""
        return max(_LEAST_S, _TIMES * self._gap.seconds) if self._gap.seconds else _FIRST_S

    def token_came(self, gap_s: float) -> None:
        """A token came, so long after the one before; what was found while it was overdue stays in mind."""
        if gap_s < self.overdue_s:
            self._found = None
        self._gap.add(gap_s)

    def rerouted(self) -> None:
        """Another route has been opened: what was found on the last one says nothing of it."""
        self._found = None

    def culprit(self, num_stages: int, position: int, said: Mapping[int, Progress]) -> int | None:
        """Look once: take what the stages say, by index; return the one to blame, once that is sure.

        `position` is that of the token that is overdue.
        """
        found = _suspect(num_stages, position, said)
        if found != self._found:
            self._found, self._num_looks = found, 0
        if found is None:
            return None
        self._num_looks += 1
        index, is_slow = found
        enough = _LOOKS_WHERE_SLOW if is_slow else _LOOKS_WHERE_NOTHING_CAME
        return index if self._num_looks >= enough else None


def _suspect(num_stages: int, position: int, said: Mapping[int, Progress]) -> tuple[int, bool] | None:
    """Return the first stage that may be at fault, and whether it is for being slow."""
    for index in range(num_stages):
        progress = said.get(index)
        if progress is None:
            return index, False  # it lives, or its silence would have been noticed, but does not answer
        if progress.position < position and (progress.working_s > 0 or progress.num_waiting):
            return (index, True) if _is_too_slow(progress) else None
        if progress.position < position:
            return index, False  # it has nothing to do: the frame never came
    return num_stages - 1, False  # all have done their work, and the token has not come


def _is_too_slow(progress: Progress) -> bool:
    usual_s = progress.usual_s or _UNKNOWN_S / _TIMES
    return progress.working_s > max(_LEAST_S, _TIMES * usual_s)
