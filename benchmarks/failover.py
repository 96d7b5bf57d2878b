"""What a loss costs: the pause of an answer whose device is killed or frozen, and whether a token is lost.

Run `make bench`, or `python -m benchmarks.failover [--rounds N]`. Three agents hold the small model together.
While they answer, one of them, each in turn, is lost at a random token; a client counts the seconds from the
last token before to the first after. `--matrix` instead runs `mesh demo --kill` for every device, ten random
tokens and two temperatures. Both print what they see, and keep it with the machine's description in
benchmarks/results/failover.json.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import click

from benchmarks.failover_home import Home, at_home
from benchmarks.failover_matrix import LAST_TOKEN, PROMPT, run_matrix
from mesh.client import Answer, ChatOptions, Client
from mesh.errors import InternalError, MeshError
from mesh.types import Recovery, Standby
from nodes.options import DEFAULT_MODEL
from simulator.real.machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "failover.json"
Tokens = tuple[int, ...]


def _options(max_tokens: int = LAST_TOKEN + 9) -> ChatOptions:
    return ChatOptions(model=DEFAULT_MODEL, max_tokens=max_tokens, temperature=0.8, seed=7, drafting="none")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to lose a device."""

    name: str
    is_frozen: bool
    """By SIGSTOP rather than SIGKILL: nobody is told, so its silence has to be noticed."""
    standby: Standby
    is_gateway: bool = False
    """Whether the client asks the very device that is lost."""


CASES = (
    Case("killed, warm standby", is_frozen=False, standby=Standby.ALL),
    Case("killed, span loaded from disk", is_frozen=False, standby=Standby.NONE),
    Case("frozen, warm standby", is_frozen=True, standby=Standby.ALL),
    Case("frozen, span loaded from disk", is_frozen=True, standby=Standby.NONE),
    Case("gateway killed, span loaded from disk", is_frozen=False, standby=Standby.NONE, is_gateway=True),
)


@dataclass(frozen=True, slots=True)
class Round:
    """One loss in one answer."""

    victim: str
    gateway: str
    token: int
    """It was lost when so many tokens had come."""
    pause_s: float | None
    """From the last token before to the first after, by the client's clock; None where none came after."""
    is_exact: bool
    """Whether the tokens are those of the undisturbed answer."""
    recoveries: tuple[Recovery, ...]
    back_s: float
    """From SIGCONT, or from the start of another agent, until all see it alive and nobody holds a session."""
    error: str | None

    @property
    def is_good(self) -> bool:
        """No token is lost, and who lived computed nothing again."""
        return self.is_exact and all(recovery.recomputed_layers == 0 for recovery in self.recoveries)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Measures losses in one home."""

    home: Home
    case: Case
    expected: Tokens

    async def round(self, victim: str, token: int) -> Round:
        """Lose a device at a token, and bring it back."""
        gateway = victim if self.case.is_gateway else self.home.after(victim)
        async with self.home.client(gateway) as client:
            await self._warm_up(client)
            answer = client.chat(PROMPT, **_options())
            times_s, error = await self._hear(answer, victim, token)
        return Round(
            victim=victim,
            gateway=gateway,
            token=token,
            pause_s=max((after - before for before, after in pairwise(times_s)), default=None),
            is_exact=error is None and answer.summary.tokens == self.expected,
            recoveries=answer.recoveries,
            back_s=await self._bring_back(victim),
            error=error,
        )

    async def _warm_up(self, client: Client) -> None:
        """Have all weights loaded by a short answer; it needs all three devices."""
        short = client.chat(PROMPT, **_options(max_tokens=2))
        await short.text()
        if short.route is None or len(short.route.stages) != len(self.home.names):
            raise InternalError("the model is not held by all devices; nothing could be measured")
        await self.home.until_warm(short.route, client)

    async def _hear(self, answer: Answer, victim: str, token: int) -> tuple[list[float], str | None]:
        """Lose the victim at a token; return when this token and those after it came, and what went wrong."""
        num_tokens, times_s = 0, []
        try:
            async for num_new in _num_tokens(answer):
                num_tokens += num_new
                if num_tokens >= token:
                    times_s.append(_now_s())
                if len(times_s) == 1:
                    self._lose(victim)
        except MeshError as error:
            return times_s, str(error)
        return times_s, None

    def _lose(self, victim: str) -> None:
        if self.case.is_frozen:
            self.home.freeze(victim)
        else:
            self.home.kill(victim)

    async def _bring_back(self, victim: str) -> float:
        began_s = _now_s()
        if self.case.is_frozen:
            self.home.thaw(victim)
        else:
            await self.home.start(victim)
        await self.home.until_whole()
        return _now_s() - began_s


async def _num_tokens(answer: Answer) -> AsyncIterator[int]:
    """How many tokens come with each piece that has some."""
    async with aclosing(aiter(answer)) as pieces:
        async for piece in pieces:
            if piece.tokens:
                yield len(piece.tokens)


async def undisturbed() -> Tokens:
    """The tokens of an answer in which nobody is lost."""
    async with at_home(Standby.NONE) as home, home.client(home.names[0]) as client:
        answer = client.chat(PROMPT, **_options())
        await answer.text()
        return answer.summary.tokens


async def measure(case: Case, num_rounds: int, expected: Tokens) -> list[Round]:
    """Lose each device in turn; a new home for each turn, because who goes too often is not planned with."""
    rng, rounds = random.Random(case.name), list[Round]()
    while len(rounds) < num_rounds:
        async with at_home(case.standby) as home:
            for victim in home.names[: num_rounds - len(rounds)]:
                token = rng.randint(1, LAST_TOKEN)
                rounds.append(await Measurement(home, case, expected).round(victim, token))
                click.echo(f"  {_line(rounds[-1])}")
    return rounds


def _line(one: Round) -> str:
    lost = f"{one.victim}@{one.token}"
    pause = "nothing came after" if one.pause_s is None else f"pause {one.pause_s:.3f} s"
    told = ", ".join(f"detect {r.detect_s:.3f} stall {r.stall_s:.3f}" for r in one.recoveries)
    judged = one.error or ("" if one.is_good else "NOT AS IT SHOULD BE")
    return f"{lost:9} {pause}  back {one.back_s:.1f} s  {told}  {judged}".rstrip()


def figures(rounds: Sequence[Round]) -> dict[str, object]:
    """Sum up the rounds of one case."""
    pauses_s = [one.pause_s for one in rounds if one.pause_s is not None]
    detects_s = [recovery.detect_s for one in rounds for recovery in one.recoveries]
    return {
        "num_rounds": len(rounds),
        "num_exact": sum(one.is_exact for one in rounds),
        "recomputed_layers": sum(r.recomputed_layers for one in rounds for r in one.recoveries),
        "pause_s": _spread(pauses_s),
        "detect_s": _spread(detects_s),
        "back_s": _spread([one.back_s for one in rounds]),
    }


def _spread(values_s: Sequence[float]) -> dict[str, float] | None:
    if not values_s:
        return None
    return {
        "median": round(median(values_s), 3),
        "least": round(min(values_s), 3),
        "most": round(max(values_s), 3),
    }


async def measure_all(num_rounds: int) -> bool:
    """Measure every case, print a table and keep it; return whether all was exact."""
    expected = await undisturbed()
    rounds: dict[str, list[Round]] = {}
    for case in CASES:
        click.echo(case.name)
        rounds[case.name] = await measure(case, num_rounds, expected)
    keep(
        "cases",
        {name: {**figures(some), "rounds": [asdict(one) for one in some]} for name, some in rounds.items()},
    )
    click.echo(f"\n{'pause in seconds':40} median   least    most   exact")
    for name, some in rounds.items():
        click.echo(_row(name, some))
    return all(one.is_good for some in rounds.values() for one in some)


def _row(name: str, rounds: Sequence[Round]) -> str:
    spread = _spread([one.pause_s for one in rounds if one.pause_s is not None]) or {}
    numbers = " ".join(f"{spread.get(key, float('nan')):7.3f}" for key in ("median", "least", "most"))
    return f"{name:39} {numbers}   {sum(one.is_good for one in rounds)} of {len(rounds)}"


def keep(part: str, value: object) -> None:
    """Write one part of the results, and leave the other as it was."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known |= {part: {"machine": describe_machine(), "measured": value}}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Losses in each case.")
@click.option("--matrix", is_flag=True, help="Instead: every device of the demo, at ten random tokens.")
@click.option(
    "--kills",
    type=click.IntRange(1, LAST_TOKEN),
    default=10,
    show_default=True,
    help="Of each device in the matrix.",
)
def main(rounds: int, matrix: bool, kills: int) -> None:
    """Measure, print and keep the figures; exit code 1 where a token was lost."""
    if matrix:
        seen = run_matrix(kills)
        keep("matrix", seen.json())
        is_good = seen.num_equal == len(seen.runs)
    else:
        is_good = asyncio.run(measure_all(rounds))
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
