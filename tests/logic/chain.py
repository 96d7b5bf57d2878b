"""A chain of relays over a toy computation, with a gateway before and behind it, message by message.

A row of a stage is a function of all rows up to it that the stage was given, so that a row left out, doubled
or of another history shows in every row behind it. Links keep their order and nothing else does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mesh.logic.relay import Relay, Rewound, Rows
from mesh.types import Ahead

ROW_BYTES = 8
_PRIME = 2**61 - 1


@dataclass(frozen=True)
class Opening:
    """The route exists anew; the gateway knows so many positions."""

    known: int
    newest: tuple[int, ...] = ()
    """The last of them."""


@dataclass(frozen=True)
class Resume:
    """The sender's cache ends there."""

    position: int
    index: int


@dataclass(frozen=True)
class Drawn:
    """The token at a position, as the last stage has drawn it."""

    position: int
    token: int
    more: tuple[int, ...] = ()


Said = Opening | Resume | Drawn | Rows


def through(stage: int, before: int, row: int) -> int:
    """What a stage makes of a row, after what it made of the one before."""
    return (before * 31 + row * 17 + stage + 1) % _PRIME


def undivided(num_stages: int, ids: list[int]) -> list[int]:
    """What the last stage must have made."""
    rows = ids
    for stage in range(num_stages):
        made: list[int] = []
        for row in rows:
            made.append(through(stage, made[-1] if made else 0, row))
        rows = made
    return rows


def token_after(row: int) -> int:
    """What is drawn after the last stage's row."""
    return row % 97 + 1


def answer(num_stages: int, prompt: list[int], num_positions: int) -> list[int]:
    """Prompt and tokens of the undivided computation."""
    ids = list(prompt)
    while len(ids) < num_positions:
        ids.append(token_after(undivided(num_stages, ids)[-1]))
    return ids


def packed(rows: list[int]) -> bytes:
    return b"".join(row.to_bytes(ROW_BYTES, "little") for row in rows)


def unpacked(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + ROW_BYTES], "little") for at in range(0, len(data), ROW_BYTES)]


@dataclass
class Stage:
    """One stage's life: what `mesh.roles.places` does with a relay."""

    index: int
    epoch: int = 0
    relay: Relay = field(default_factory=Relay)
    made: list[int] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    """Positions that it has computed."""
    again: set[int] = field(default_factory=set)
    """Those that it has computed more than once."""
    given_up: set[tuple[int, int]] = field(default_factory=set)
    """What it had made of positions that the gateway knew, and gave up when the route was opened anew."""
    has_forgotten: bool = False
    drawn: dict[int, int] = field(default_factory=dict)

    def compute(self, rows: Rows) -> Rows:
        assert rows.start <= len(self.made), (
            f"stage {self.index} was sent {rows.start} after {len(self.made)}"
        )
        del self.made[rows.start :]
        for row in unpacked(rows.data):
            self.made.append(through(self.index, self.made[-1] if self.made else 0, row))
        positions = set(range(rows.start, rows.end))
        self.again |= self.done & positions
        self.done |= positions
        return replace(rows, data=packed(self.made[rows.start :]))

    def draw(self, rows: Rows) -> Drawn:
        """What follows the last row that is sure, and each guess behind it that is right."""
        drafts = rows.drafts if rows.ahead is None else rows.drafts[1:]
        position = rows.end - len(drafts)
        tokens: list[int] = []
        for draft in (*drafts, None):
            tokens.append(token_after(self.made[position + len(tokens) - 1]))
            if tokens[-1] != draft:
                break
        return Drawn(position, tokens[0], tuple(tokens[1:]))


class Chain:
    """Stages 0, 1, ... with a link before each, both ways; the gateway is before the first."""

    def __init__(
        self,
        num_stages: int,
        prompt: list[int],
        num_positions: int,
        max_rows: int,
        guess: Callable[[list[int]], tuple[int, ...]] = lambda _: (),
        ahead: int = 0,
    ) -> None:
        """`guess` returns what may follow some tokens; its drafts go along with the newest of these.

        So many frames with what may follow that go ahead.
        """
        self.guess = guess
        self.num_newest = max_rows * (ahead + 2)
        """Tokens by which stages are told which guesses were right."""
        self.num_ahead = ahead
        self.sent: list[tuple[int, ...]] = []
        """Guessed tokens that are under way, by frame."""
        self.known_to = 0
        """Where the known rows ended that they follow."""
        self.ids = list(prompt)
        self.num_prompt = len(prompt)
        self.num_positions = max(num_positions, len(prompt))
        """With so many the answer is complete."""
        self.max_rows = max_rows
        self.epoch = 0
        self.opened_at = 0
        """What was known when the route was opened anew."""
        self.fed_from: int | None = 0
        """The first stage has all before it; None until it has said how much."""
        self.stages = [Stage(index) for index in range(num_stages)]
        self.down: list[deque[tuple[int, Said]]] = [deque() for _ in range(num_stages)]
        self.up: list[deque[tuple[int, Said]]] = [deque() for _ in range(num_stages)]
        self.tokens: deque[tuple[int, Said]] = deque()
        self.told: deque[tuple[int, Said]] = deque()
        """What stages tell the gateway of their caches."""
        self.ends: dict[int, int] = {}
        """Where they end, by what was told of this route."""
        self._ask_from(0)

    def roll_back(self, position: int, token: int) -> None:
        """Take back what was asked, and ask otherwise from there on; nothing may be lost on the way.

        Not what was known before the route was opened anew.
        """
        self.deliver_all()
        position = min(max(position, self.opened_at), len(self.ids) - 1)
        if position < self.opened_at:
            return
        self.ids[position:] = [token]
        self.sent = []
        self.num_prompt = position + 1
        self.num_positions = max(self.num_positions, len(self.ids))
        for stage in self.stages:
            stage.done = {done for done in stage.done if done < position}
        self.fed_from = position
        self._ask_from(position)
        self.deliver_all()

    def lose(self, indices: set[int]) -> None:
        """Others take the places of some stages; what was under way to or from them is lost."""
        for index in sorted(indices):
            self.stages[index] = Stage(index, epoch=-1)  # it knows of no session yet
            for links in (self.down, self.up):
                links[index].clear()
                if index + 1 < len(links):
                    links[index + 1].clear()
        if len(self.stages) - 1 in indices:
            self.tokens.clear()
        self.open_anew()

    def break_links(self, mask: int) -> None:
        """What is under way on some links is lost, though nobody is; then the route is opened anew."""
        for at, link in enumerate(self._links):
            if mask >> at & 1:
                link.clear()
        self.open_anew()

    def open_anew(self) -> None:
        self.epoch += 1
        self.sent = []
        self.ends = {}
        self.fed_from, self.opened_at = None, len(self.ids)
        self.down[0].append((self.epoch, Opening(len(self.ids), tuple(self.ids[-self.num_newest :]))))

    def forget(self, index: int) -> None:
        """Keep no rows at a stage any more."""
        self.stages[index].relay.forget()
        self.stages[index].has_forgotten = True

    def take_over(self, num_unknown: int) -> None:
        """Another gateway goes on, whose client has not heard the newest tokens."""
        self.ids = self.ids[: max(self.num_prompt, len(self.ids) - num_unknown)]
        self.sent = []
        self.tokens.clear()
        self.down[0].clear()
        self.up[0].clear()
        self.open_anew()

    def deliver(self, choice: int) -> None:
        """Have one message arrive: the next one of some link."""
        links = self._links
        waiting = [at for at, link in enumerate(links) if link]
        if not waiting:
            return
        at = waiting[choice % len(waiting)]
        epoch, said = links[at].popleft()
        num_stages = len(self.stages)
        if at < num_stages:
            self._arrives(self.stages[at], epoch, said)
        elif at < 2 * num_stages:
            self._comes_back(at - num_stages - 1, epoch, said)
        elif epoch == self.epoch and isinstance(said, Drawn):
            self._hear(said)
        elif epoch == self.epoch and isinstance(said, Resume):
            self.ends[said.index] = max(said.position, self.ends.get(said.index, 0))

    def deliver_all(self) -> None:
        """Have everything arrive, the first links first."""
        for _ in range(100_000):
            if not any(self._links):
                return
            self.deliver(0)
        raise AssertionError("messages without end")

    @property
    def _links(self) -> list[deque[tuple[int, Said]]]:
        return [*self.down, *self.up, self.tokens, self.told]

    @property
    def _may_guess(self) -> bool:
        """Whether all tokens that the stages have are known."""
        if not self.epoch:
            return True
        return len(self.ends) == len(self.stages) and len(self.ids) > max(self.ends.values())

    def _ask_from(self, position: int) -> None:
        for start in range(position, len(self.ids), self.max_rows):
            ids = self.ids[start : start + self.max_rows]
            sample = start + len(ids) == len(self.ids)
            self.down[0].append((self.epoch, Rows(start, len(ids), packed(ids), sample)))

    def _hear(self, drawn: Drawn) -> None:
        if drawn.position != len(self.ids) or len(self.ids) >= self.num_positions:
            return
        tokens, left = (drawn.token, *drawn.more), self.num_positions - len(self.ids)
        self.ids.extend(tokens[:left])
        if len(tokens) > left:
            return  # the stages have the last row already: it was guessed
        expected = [token for sent in self.sent[:1] for token in sent] + [s[0] for s in self.sent[1:2]]
        if len(self.sent) > 1 and list(tokens) == expected:
            self.sent = [self.sent[1][1:], *self.sent[2:]]
            self._go_ahead()
            return
        self.sent = []
        newest = len(self.ids) - 1
        if self.fed_from is not None and newest >= self.fed_from:
            self.sent = [self.guess(self.ids) if self._may_guess else ()]
            ids = [self.ids[-1], *self.sent[0]]
            made = Rows(newest, len(ids), packed(ids), sample=True, drafts=self.sent[0])
            self.down[0].append((self.epoch, made))
            self.known_to = len(self.ids)
            self._go_ahead()

    def _go_ahead(self) -> None:
        """Send what may follow all that is under way."""
        while self._may_guess and len(self.sent) <= self.num_ahead:
            pending = [*self.ids, *(token for sent in self.sent for token in sent)]
            if not (drafts := self.guess(pending)):
                return
            ahead = Ahead(self.known_to, len(self.ids))
            made = Rows(len(pending), len(drafts), packed(list(drafts)), True, drafts, ahead=ahead)
            self.down[0].append((self.epoch, made))
            self.sent.append(drafts)

    def _arrives(self, stage: Stage, epoch: int, said: Said) -> None:
        if isinstance(said, Opening):
            stage.epoch = epoch
            self._say(stage, self._reopened(stage, said))
            self._tell_tokens(stage, said.known)
            self._pass_on(stage, [said])
        elif isinstance(said, Rows) and epoch == stage.epoch and self._takes(stage, said):
            if said.start > len(stage.made) and epoch < self.epoch:
                return  # the frame before it was lost, and the gateway has opened the route anew for it
            stage.drawn = {at: token for at, token in stage.drawn.items() if at <= said.start}
            made = stage.compute(said)
            if stage.index + 1 < len(self.stages):
                self._pass_on(stage, stage.relay.computed(made))
                return
            drawn = stage.draw(made)
            stage.relay.advanced(drawn.position + len(drawn.more))
            if made.sample:
                stage.drawn.update(enumerate((drawn.token, *drawn.more), drawn.position))
                self.tokens.append((stage.epoch, drawn))

    def _takes(self, stage: Stage, rows: Rows) -> bool:
        is_last = stage.index + 1 == len(self.stages)
        if not stage.relay.takes(rows.start, rows.ahead):
            return False
        return not (rows.ahead and is_last) or stage.drawn.get(rows.start) == rows.drafts[0]

    def _reopened(self, stage: Stage, opening: Opening) -> Rewound:
        known, had = opening.known, stage.relay.length
        rewound = stage.relay.reopen(known, opening.newest)
        length = stage.relay.length
        stage.given_up.update(enumerate(stage.made[length : min(had, known)], length))
        is_last = stage.index + 1 == len(self.stages)
        if is_last and stage.relay.length >= known and known not in stage.drawn:
            return stage.relay.take_back(known - 1)
        return rewound

    def _tell_tokens(self, stage: Stage, start: int) -> None:
        for position, token in sorted(stage.drawn.items()):
            if position >= start:
                self.tokens.append((stage.epoch, Drawn(position, token)))

    def _comes_back(self, to: int, epoch: int, said: Said) -> None:
        assert isinstance(said, Resume)
        if to < 0:
            if epoch == self.epoch:
                self.fed_from = said.position
                self._ask_from(said.position)
            return
        stage = self.stages[to]
        if epoch == stage.epoch:
            answer = stage.relay.resumed(said.position)
            if isinstance(answer, Rewound):
                self._say(stage, answer)
            else:
                self._pass_on(stage, answer)

    def _say(self, stage: Stage, rewound: Rewound) -> None:
        resume = Resume(rewound.position, stage.index)
        self.up[stage.index].append((stage.epoch, resume))
        self.told.append((stage.epoch, resume))

    def _pass_on(self, stage: Stage, said: list[Opening] | list[Rows]) -> None:
        if stage.index + 1 < len(self.stages):
            self.down[stage.index + 1].extend((stage.epoch, one) for one in said)
