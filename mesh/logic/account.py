"""What a client knows of one answer, wherever its parts come from.

Owns the tokens that came, the pauses in between, and what another gateway must be told to go on. Must not
know links, nor how another gateway is found.

One pause is one recovery, whatever was lost in it: the gateway, a stage, the gateway after it. The client saw
how long it took; the gateway that went on knows what it cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mesh.decision import Decision, Privacy
from mesh.errors import DeadlineExceeded
from mesh.logic.session import EPOCHS_A_GATEWAY
from mesh.logic.settling import said
from mesh.messages import ChatFinished, ChatRequest, Decided, Piece, Routed, Started
from mesh.types import Plan, Recovery, Settled, Summary, Thinking


@dataclass(slots=True)
class _Pause:
    """The time between the last piece of a gateway that was lost and the first one after it."""

    began_s: float
    noticed_s: float
    lost: list[str]
    """Names of gateways."""
    told: list[Recovery] = field(default_factory=list)
    """What gateways that took over say of it."""

    def recovery(self, gateway: str, now_s: float) -> Recovery:
        lost_stages = [name for told in self.told for name in told.lost]
        others = [name for told in self.told for name in told.replacement]
        # A lost device that was only the gateway is replaced by the gateway that goes on.
        is_told = all(name in lost_stages for name in self.lost)
        lost = tuple(dict.fromkeys([*self.lost, *lost_stages]))
        came = dict.fromkeys(others if is_told else [gateway, *others])
        return Recovery(
            lost=lost,
            replacement=tuple(name for name in came if name == gateway or name not in lost),
            detect_s=self.noticed_s - self.began_s,
            stall_s=now_s - self.began_s,
            replayed_positions=sum(told.replayed_positions for told in self.told),
            recomputed_layers=sum(told.recomputed_layers for told in self.told),
        )


class Account:
    """One answer so far. Every `now_s` is the loop's clock, in seconds."""

    def __init__(self, request: ChatRequest, now_s: float) -> None:
        self._request = request
        self._began_s = now_s
        self._gateway = ""
        self._tokens: list[int] = []
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._routed: Routed | None = None
        self._held: Routed | None = None
        self._settled: Settled | None = None
        """As the first gateway told of the session that makes the answer; those after it add nothing."""
        self._reasoning: list[str] = []
        self._pause: _Pause | None = None
        self.is_interrupted = False
        """Whether a gateway was lost: from then on another one is asked to go on."""
        self._num_told = 0
        self._used_epoch = 0
        """Epochs below its end may have been used by the gateways that were asked."""
        self.recoveries: tuple[Recovery, ...] = ()
        """Those that are over, in order of time."""
        self.decision: Decision | None = None
        """Why it takes the way that it does; None until that was told."""
        self.summary: Summary | None = None
        """Of the whole answer; None until it has ended."""

    @property
    def route(self) -> Plan | None:
        """The way that the answer takes, as far as it is known."""
        return self._routed.plan if self._routed else None

    @property
    def reasoning(self) -> str:
        """What the model has thought before its answer, as far as it came."""
        return "".join(self._reasoning)

    @property
    def can_go_on(self) -> bool:
        """Whether another gateway could go on: none can with the text of a session that has no name."""
        return not self.stays and (self._routed is not None or self._first_s is None)

    @property
    def stays(self) -> bool:
        """Whether the request may not leave the gateway that it was meant for."""
        return self._request.privacy is Privacy.DEVICE

    @property
    def too_late(self) -> DeadlineExceeded:
        """The error of an answer whose time is over."""
        return DeadlineExceeded(f"the answer was not ready within {self._request.deadline_s:g} s")

    def left_s(self, now_s: float) -> float | None:
        """Seconds that are left of the caller's time, maybe less than none; None where it has no end."""
        deadline_s = self._request.deadline_s
        return None if deadline_s is None else deadline_s - (now_s - self._began_s)

    def asks(self, gateway: str, now_s: float) -> ChatRequest:
        """Return the request for a gateway; raise DeadlineExceeded where its time is over."""
        self._gateway, self._num_told = gateway, 0
        if not self.is_interrupted:
            return self._request
        left_s = self.left_s(now_s)
        if left_s is not None and left_s <= 0:
            raise self.too_late
        started = self._started()
        request = self._request if started is None else said(self._request, self._settled)
        return replace(request, deadline_s=left_s, started=started)

    def lost(self, gateway: str, now_s: float) -> None:
        """The gateway of that name was found to be gone."""
        self.is_interrupted = True
        self._held = None
        if self._pause is None:
            began_s = self._began_s if self._last_s is None else self._last_s
            self._pause = _Pause(began_s, now_s, [gateway])
        else:
            self._pause.lost.append(gateway)

    def take(
        self, message: Decided | Routed | Piece | ChatFinished, now_s: float
    ) -> tuple[Routed | Piece, ...]:
        """Take what the gateway says; return what there is to show.

        A route that ends a pause is shown when the pause is over, with the recovery that it makes.
        """
        match message:
            case Decided(_, decision):
                self.decision = decision
                self._routed = self._held = self._settled = None  # of a way that failed before its first word
                return ()
            case Routed():
                return self._take_route(message)
            case Piece():
                return (*self._settle(now_s), self._take_piece(message, now_s))
            case ChatFinished(_, summary):
                return self._take_summary(summary, now_s)

    def _started(self) -> Started | None:
        routed = self._routed
        if routed is None:
            return None
        # A gateway that was asked may have opened routes of which it could not tell any more.
        epoch = max(routed.epoch, self._used_epoch)
        self._used_epoch = epoch + EPOCHS_A_GATEWAY
        thinking = self._settled.thinking if self._settled else Thinking.NONE
        return Started(routed.session_id, epoch, routed.plan, tuple(self._tokens), thinking)

    def _take_route(self, routed: Routed) -> tuple[Routed, ...]:
        self._routed = routed
        self._settled = self._settled or routed.settled
        if routed.recovery is not None:
            self._num_told += 1
            self._note(routed.recovery)
        if self._pause is None:
            return (routed,)
        self._held = routed
        return ()

    def _take_piece(self, piece: Piece, now_s: float) -> Piece:
        self._tokens.extend(piece.tokens)
        self._reasoning.append(piece.reasoning)
        self._last_s = now_s
        if self._first_s is None:
            self._first_s = now_s
        return piece

    def _take_summary(self, summary: Summary, now_s: float) -> tuple[Routed, ...]:
        for told in summary.recoveries[self._num_told :]:  # those after which no piece came
            self._note(told)
        shown = self._settle(now_s)
        if self.is_interrupted:
            summary = self._as_seen(summary)
        self.summary = replace(summary, recoveries=self.recoveries)
        return shown

    def _note(self, told: Recovery) -> None:
        if self._pause is None:
            self.recoveries += (told,)
        else:
            self._pause.told.append(told)

    def _settle(self, now_s: float) -> tuple[Routed, ...]:
        """End the pause, where there is one."""
        if self._pause is None:
            return ()
        recovery = self._pause.recovery(self._gateway, now_s)
        self.recoveries += (recovery,)
        held, self._pause, self._held = self._held, None, None
        return (replace(held, recovery=recovery),) if held else ()

    def _as_seen(self, summary: Summary) -> Summary:
        """Put the client's times of the whole answer for those of the last gateway, which saw a part."""
        if self._first_s is None or self._last_s is None:
            return summary
        took_s = self._last_s - self._first_s
        rate = (len(summary.tokens) - 1) / took_s if took_s > 0 else 0.0
        return replace(summary, ttft_s=self._first_s - self._began_s, tokens_per_s=rate)
