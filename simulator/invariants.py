"""What must hold in every run: the judge of answers, memory and roles.

Owns the invariants and what each was seen to break. An invariant that a script does not name is not judged.
"""

from __future__ import annotations

from collections.abc import Callable

from mesh.config import Timing
from mesh.types import FinishReason, Sampling, SessionId, Summary
from simulator.asking import Asked
from simulator.calm import Calm
from simulator.claims import Invariant
from simulator.devices.device import VirtualDevice
from simulator.leftovers import Leftovers
from simulator.parts import Parts
from simulator.result import Complaint
from simulator.script import RequestScript, Script

_TO_FREE_S = 2.0  # from the end of a request until nothing of it is left, where nobody waits for more
_MARGIN_S = 5.0  # for a path that recovers while somebody waits

Answer = tuple[tuple[int, ...], FinishReason]
Complain = Callable[[Complaint], None]


class Invariants:
    """Judges one run; implements `simulator.asking.Judge`."""

    def __init__(self, script: Script, parts: Parts, now_s: Callable[[], float], complain: Complain) -> None:
        self.silence_s = longest_silence_s(script.timing, script.timing.load_s)
        """How long a request may hear nothing."""
        self._watched = frozenset(script.always)
        self._parts = parts
        self._now_s = now_s
        self._complain = complain
        self._references: dict[int, Answer | None] = {}
        self._calm = Calm(script)
        self._leftovers = Leftovers()
        self._to_free_s = _TO_FREE_S + script.timing.linger_s

    def broken(self, name: Invariant, text: str, cause: str = "", traceback: str | None = None) -> None:
        """Complain of an invariant, if the script names it."""
        if name in self._watched:
            self._complain(Complaint(name, self._now_s(), text, traceback, cause))

    def token(self, asked: Asked, token: int) -> None:
        """A token has come."""
        reference = self._reference(asked.script)
        if reference is None:
            return
        index = len(asked.tokens) - 1
        expected = reference[0][index] if index < len(reference[0]) else None
        if token != expected:
            self.broken(
                Invariant.EXACT_TOKENS,
                f"request {asked.script.number}: token {index} is {token}, "
                f"the undivided model gives {expected}",
            )

    def routed(self, asked: Asked, session_id: SessionId) -> None:
        """A client was told which session answers it."""
        self._leftovers.routed(asked, session_id)

    def ended(self, asked: Asked, summary: Summary | None) -> None:
        """An attempt has ended."""
        self._leftovers.ended(asked, self._now_s())
        reference = self._reference(asked.script)
        if summary is None or reference is None:
            return
        came = tuple(asked.tokens), summary.reason
        if came != reference or summary.tokens != reference[0]:
            self.broken(
                Invariant.EXACT_TOKENS,
                f"request {asked.script.number} ended by '{summary.reason}' after {len(asked.tokens)} "
                f"tokens; "
                f"the undivided model ends by '{reference[1]}' after {len(reference[0])}",
            )

    def look(self, requests: list[Asked], devices: list[VirtualDevice]) -> None:
        """Look at everything now; called now and then."""
        now_s = self._now_s()
        for asked in requests:
            if asked.is_under_way and now_s > self._ends_by_s(asked):
                self.broken(
                    Invariant.ONE_END,
                    f"request {asked.script.number} has heard nothing, not even an error, for "
                    f"{now_s - asked.heard_s:.0f} s",
                )
        self._leftovers.look(requests)
        for device in devices:
            self.memory(device)
            self._look_for_leftovers(device)

    def _ends_by_s(self, asked: Asked) -> float:
        """When an attempt must have ended that hears nothing more; one with a deadline may wait that long."""
        deadline_s = asked.script.deadline_s or 0.0
        return max(asked.heard_s + self.silence_s, asked.tried_s + deadline_s + _MARGIN_S)

    def _look_for_leftovers(self, device: VirtualDevice) -> None:
        if device.is_paused or not device.held_sessions:
            return
        now_s = self._now_s()
        calm_s = self._calm.since_s(now_s)
        for session_id in device.held_sessions:
            over_s = now_s - max(calm_s, self._leftovers.over_since_s(session_id))
            if over_s > self._to_free_s:
                text = (
                    f"{device.name} still holds session {session_id}, {over_s:.1f} s after its request ended"
                )
                self.broken(Invariant.FREED_IN_TIME, text)

    def declared_lost(self, viewer: VirtualDevice, target: VirtualDevice) -> None:
        """A device takes another for lost."""
        is_there = target.is_running and not target.is_paused
        if is_there and not self._calm.excuses_death(self._now_s(), viewer, target):
            text = f"{viewer.name} takes {target.name} for lost, which runs and can be reached"
            self.broken(Invariant.NO_FALSE_DEATH, text)

    def memory(self, device: VirtualDevice) -> None:
        """Look at what a device holds."""
        used, lent = device.memory_used_bytes, device.script.memory_bytes
        if used > lent:
            self.broken(
                Invariant.MEMORY_WITHIN_BUDGET, f"{device.name} holds {used} bytes, its owner lends {lent}"
            )

    def _reference(self, request: RequestScript) -> Answer | None:
        """Return what the undivided model answers, computed once."""
        if Invariant.EXACT_TOKENS not in self._watched or self._parts.reference is None:
            return None
        if request.number not in self._references:
            self._references[request.number] = self._computed(request, self._parts)
        return self._references[request.number]

    @staticmethod
    def _computed(request: RequestScript, parts: Parts) -> Answer | None:
        if parts.reference is None:
            return None
        (spec,) = parts.specs((request.model,))
        prompt = parts.prompt_ids(spec, request.prompt)
        sampling = Sampling(temperature=request.temperature, seed=request.seed)
        return parts.reference(spec, prompt, sampling, request.max_tokens, parts.stop_ids(spec))


def longest_silence_s(timing: Timing, longest_load_s: float) -> float:
    """Return how long a client may hear nothing before its request must have failed.

    First the stages load, then the first token is waited for, then the client asks whether its gateway lives.
    """
    gateway_s = min(timing.load_s, longest_load_s) + timing.stall_s
    return gateway_s + timing.suspect_after_s + timing.lost_after_s + _MARGIN_S
