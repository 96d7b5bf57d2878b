"""One answer as its gateway drives it.

Owns the token history, what is sent next and when the answer ends. Pure: tokens come in, frames go out.
The history lives here and not in any stage, so that no lost device can take it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mesh.config import MAX_FRAME_POSITIONS
from mesh.errors import BadSetting, ContextExceeded
from mesh.logic.speculation import MOST_PENDING, Speculation
from mesh.messages import GUESSES_SINCE, Frame, Resume, Token
from mesh.types import Ahead, Drafting, FinishReason, Guesses, Plan, SessionId, TokenIds


@dataclass(frozen=True, slots=True)
class Accepted:
    """What tokens led to: text to show, or the end."""

    tokens: tuple[int, ...]
    """Those that came, in order, at least one."""
    reason: FinishReason | None
    """Why the answer ended; None while it goes on."""
    is_of_traversal: bool
    """Whether they were asked for when those before were known: what that takes is a traversal's time."""

    @property
    def text(self) -> tuple[int, ...]:
        """The tokens that belong to the answer: all do but the one by which the model stops."""
        return self.tokens[:-1] if self.reason is FinishReason.STOP else self.tokens


EPOCHS_A_GATEWAY = 2**16
"""Epochs that one gateway may use up. The next gateway of a session begins above them, so that the one
before, which may only have stood still, can never take the session back."""


DEFAULT_FRAME_ROWS = 64
"""Of a prompt in one frame, while nobody has measured how long a row takes."""

_MOST_FRAME_S = 0.05  # of a prompt in one frame: the next stage begins so soon
_LEAST_FRAME_S = 0.005  # below that a frame's own cost counts
_FRAMES_A_STAGE = 2  # then the stages of a short prompt work at once for two thirds of the time
_FRAME_STEP = 16  # rows: frames of odd numbers run no faster


def frame_rows(num_rows: int, num_stages: int, row_s: float) -> int:
    """Return how many of a prompt's rows go in one frame.

    While a stage works on one frame the next works on the one before it, so several frames go through
    several stages in less time; a single stage cuts what it gets as it likes. `row_s` is what a row takes at
    the slowest stage, 0 where that is not known.
    """
    if num_stages == 1:
        return MAX_FRAME_POSITIONS
    if not row_s:
        return DEFAULT_FRAME_ROWS
    wanted = max(num_rows / (_FRAMES_A_STAGE * num_stages), _LEAST_FRAME_S / row_s)
    steps = round(min(wanted, _MOST_FRAME_S / row_s) / _FRAME_STEP)
    return min(MAX_FRAME_POSITIONS, max(1, steps) * _FRAME_STEP)


class Session:
    """The state of one answer."""

    def __init__(
        self,
        session_id: SessionId,
        prompt: tuple[int, ...],
        max_tokens: int,
        stop_ids: frozenset[int],
        speculation: Speculation | None = None,
    ) -> None:
        self.session_id = session_id
        self.epoch = 0
        self.speculation = speculation
        """The guessing at what comes; None: nothing is guessed."""
        self._understands_guesses = True
        """Whether all stages of the route do."""
        self._num_stages = 1
        self._ends: dict[int, int] = {}
        """Where the caches of stages end, by what they have said of a route that was opened anew."""
        self._num_sure = 0
        """Of the history, whose rows the stages have for sure, once a token was drawn."""
        self._known_to = 0
        """Where the known rows ended which all that is under way follows."""
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._stop_ids = stop_ids
        self._generated: list[int] = []
        self._is_over = False

    def go_on(self, epoch: int, tokens: tuple[int, ...]) -> None:
        """Take over an answer that another gateway began, with the tokens that its client has."""
        self.epoch = (epoch // EPOCHS_A_GATEWAY + 1) * EPOCHS_A_GATEWAY
        self._generated = list(tokens)

    @property
    def is_full(self) -> bool:
        """Whether the answer has all the tokens that it may have."""
        return len(self._generated) >= self._max_tokens

    @property
    def tokens(self) -> tuple[int, ...]:
        """The answer so far."""
        return tuple(self._generated)

    @property
    def prompt(self) -> tuple[int, ...]:
        """What is answered, as tokens."""
        return self._prompt

    @property
    def history(self) -> tuple[int, ...]:
        """Prompt and answer so far."""
        return (*self._prompt, *self._generated)

    @property
    def reusable(self) -> tuple[int, ...]:
        """Of the history, what others may begin with: rows behind it may be of wrong guesses."""
        guesses = self.guesses
        return self.history[: self._num_sure] if guesses and guesses.num_drafted else self.history

    @property
    def newest(self) -> tuple[int, ...]:
        """The last tokens, as many as stages may take for mere guesses still when a route is opened anew."""
        is_guessed = self.speculation is not None and self.epoch > 0
        return self.history[-MOST_PENDING:] if is_guessed else ()

    @property
    def position(self) -> int:
        """Position of the token that is waited for."""
        return len(self._prompt) + len(self._generated)

    def frames_from(self, position: int, num_rows: int = MAX_FRAME_POSITIONS) -> list[Frame]:
        """All that is known from a position on, in frames of so many rows; the last asks for the next token.

        None where stage 0 has it all: then somebody behind it asks for the token, or has it.
        """
        known = self.history
        starts = range(position, len(known), num_rows)
        return [self._frame(start, known[start : start + num_rows]) for start in starts]

    def accept(self, token: Token, took_s: float | None = None) -> Accepted | None:
        """Take what the last stage has drawn; None for what is not waited for.

        That is something of another epoch, of another position (repeated, or overtaken), or after the end.
        What comes behind the token that ends the answer is dropped. `took_s`: since the frame that asked for
        it went out; None where that says nothing of the stages.
        """
        expected = (self.session_id, self.epoch, self.position)
        if self._is_over or (token.session_id, token.epoch, token.position) != expected:
            return None
        taken: list[int] = []
        reason: FinishReason | None = None
        for one in token.tokens:
            reason = self._reason_to_end(one)
            taken.append(one)
            if reason is not FinishReason.STOP:
                self._generated.append(one)
            if reason is not None:
                break
        self._is_over = reason is not None
        self._num_sure = token.position + len(taken) - 1
        is_of_traversal = self.speculation is None or self.speculation.is_of_traversal
        if self.speculation is not None:
            self._learn(self.speculation, token, tuple(taken), took_s)
        return Accepted(tuple(taken), reason, is_of_traversal)

    def ask(self) -> tuple[Frame, ...]:
        """Return what is sent after tokens were accepted: once for each time, none at the end.

        Nor while what is under way asks for the next token already, and enough of what may follow.
        """
        if self._is_over:
            return ()
        if self.speculation is None:
            return (self._asking(self.position - 1, self.history[-1:]),)
        left = self._max_tokens - len(self._generated) - 1
        return tuple(self._guessing(self.speculation, left if self._may_guess else 0))

    @property
    def wants_guesses(self) -> int:
        """How many tokens a model that guesses is asked for, before `ask`; 0 where none is of use now."""
        if self._is_over or not self._may_guess or self.speculation is None or self.speculation.pending:
            return 0
        left = self._max_tokens - len(self._generated) - 1
        return max(0, min(left, self.speculation.num_wanted))

    @property
    def guesses(self) -> Guesses | None:
        """What was guessed so far; None where nothing is."""
        return self.speculation.guesses if self.speculation is not None else None

    @property
    def has_caught_up(self) -> bool:
        """Whether all tokens that the stages have are known here.

        Where a route was opened anew the stages may be further, for the gateway before this one was or its
        tokens were lost; they are told again, one by one. Until then nothing is guessed: the token told again
        and the one drawn for a guess would be taken for each other.
        """
        if self.epoch == 0:
            return True
        return len(self._ends) == self._num_stages and self.position > max(self._ends.values())

    @property
    def _may_guess(self) -> bool:
        return self._understands_guesses and self.has_caught_up

    def take_route(self, plan: Plan) -> None:
        """Frames take this way from now on."""
        self._understands_guesses = all(stage.node.version >= GUESSES_SINCE for stage in plan.stages)
        self._num_stages = len(plan.stages)
        if self.speculation is not None:
            self.speculation.route(len(plan.stages))

    def reopened(self) -> None:
        """The route is another from now on: what was asked by the last one, with its guesses, is void."""
        self.epoch += 1
        self._ends = {}
        self.not_asked()

    def resumed(self, resume: Resume) -> None:
        """A stage of this route has said where its cache ends."""
        self._ends[resume.index] = max(resume.position, self._ends.get(resume.index, 0))

    def not_asked(self) -> None:
        """The frames that were made last, with their guesses, are not under way."""
        if self.speculation is not None:
            self.speculation.nothing_sent()

    def _learn(
        self, speculation: Speculation, token: Token, taken: tuple[int, ...], took_s: float | None
    ) -> None:
        if not speculation.has_begun:
            speculation.begin(self.history[: token.position])
        if took_s is not None:
            speculation.took(took_s)
        speculation.came(taken)
        speculation.told(Drafting.MTP, token.guessed)

    def _guessing(self, speculation: Speculation, most: int) -> Iterator[Frame]:
        """The newest token with what may follow it, and what may follow that in frames of its own."""
        start = self.position + len(speculation.pending)
        for sending in speculation.sending(most):
            if sending.is_ahead:
                ahead = Ahead(self._known_to, self.position)
                yield self._asking(start, sending.tokens, sending.tokens, ahead)
            else:
                self._known_to = self.position
                yield self._asking(start - 1, (self._generated[-1], *sending.tokens), sending.tokens)
            start += len(sending.tokens)

    def _reason_to_end(self, token: int) -> FinishReason | None:
        if token in self._stop_ids:
            return FinishReason.STOP
        return FinishReason.LENGTH if len(self._generated) + 1 >= self._max_tokens else None

    def _frame(self, start: int, ids: tuple[int, ...]) -> Frame:
        asks = start + len(ids) == self.position
        return self._asking(start, ids, asks=asks)

    def _asking(
        self,
        start: int,
        ids: tuple[int, ...],
        drafts: tuple[int, ...] = (),
        ahead: Ahead | None = None,
        *,
        asks: bool = True,
    ) -> Frame:
        guessing = self.speculation is not None and self.speculation.asks_stage
        return Frame(
            session_id=self.session_id,
            epoch=self.epoch,
            index=0,
            start=start,
            payload=TokenIds(ids),
            sample=asks,
            drafts=drafts,
            tokens=ids if guessing else (),
            num_wanted=self.speculation.num_wanted if self.speculation and guessing and asks else 0,
            ahead=ahead,
        )


def check_max_tokens(max_tokens: int) -> None:
    """Raise BadSetting for a limit that lets nothing be said."""
    if max_tokens < 1:
        raise BadSetting(f"max_tokens is {max_tokens}; it must be 1 or more")


def needed_context(num_prompt_tokens: int, max_tokens: int, limit: int) -> int:
    """Positions that an answer may need; raise ContextExceeded, naming the numbers, above the limit."""
    check_max_tokens(max_tokens)
    needed = num_prompt_tokens + max_tokens
    if needed > limit and not num_prompt_tokens:
        raise ContextExceeded(f"{needed} tokens are more than the model's context of {limit}; ask for fewer")
    if needed > limit:
        raise ContextExceeded(
            f"a prompt of {num_prompt_tokens} tokens and an answer of up to {max_tokens} make {needed}, "
            f"but the model's context is {limit}; shorten the prompt or lower --max-tokens"
        )
    return needed


def planned_context(needed: int, step: int, limit: int) -> int:
    """Round the needed context up to a step, so that like requests share one plan."""
    return min(limit, -(-needed // step) * step)
