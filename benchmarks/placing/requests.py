"""One request of a household: what is chosen by what is believed, and what would have been best.

Owns the prediction of a request's seconds and the regret of a choice. Speeds and links are believed with an
error, memory is known. Judged is by the true figures.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from benchmarks.placing.beside import placed, planned
from benchmarks.placing.homes import Household, Member
from benchmarks.placing.rules import RULES
from benchmarks.placing.sums import Spread, spread
from mesh.logic.chains import Chain, Part, chain_s
from mesh.types import Span

CLOSE = 1.1
"""A choice is good that takes no longer than so many times the best in hindsight."""
SPEED_SIGMA, LINK_SIGMA = 0.1, 0.2
"""Of the logarithm of the error of what is believed."""
CHOSEN = "the mesh: the quickest by prediction"
CHAIN = "always the best chain for a token"

_PROMPT, _ANSWER = (16, 2048), (16, 512)

Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Tokens in and out; together no more than the context."""

    prompt: int
    answer: int


def drawn(home: Household, rng: random.Random) -> Request:
    """Draw a request that the household's context has room for."""
    answer = rng.randint(*_ANSWER)
    return Request(rng.randint(_PROMPT[0], min(_PROMPT[1], home.demand.context - answer)), answer)


def believed(home: Household, rng: random.Random) -> Household:
    """The household as it is known: each device's speed and each link with an error of its own."""
    return replace(home, members=tuple(_believed(one, rng) for one in home.members))


def _believed(member: Member, rng: random.Random) -> Member:
    faster, slower = rng.lognormvariate(0, SPEED_SIGMA), rng.lognormvariate(0, LINK_SIGMA)
    profile, link = member.profile, member.link
    return replace(
        member,
        profile=replace(
            profile,
            bandwidth_bytes_per_s=profile.bandwidth_bytes_per_s * faster,
            prefill_flops=profile.prefill_flops * faster,
        ),
        link=replace(link, delay_s=link.delay_s * slower, rate_bps=link.rate_bps / slower),
    )


def request_s(home: Household, request: Request, parts: Parts) -> float:
    """Seconds of a request over a chain: the prompt at once through all stages, then token by token.

    Every token of the answer takes what the one in its middle takes.
    """
    amid = request.prompt + request.answer // 2
    token_s = chain_s(parts, home.seats(amid), home.ways(), home.num_layers)
    return _first_token_s(home, request.prompt, parts) + (request.answer - 1) * token_s


def _first_token_s(home: Household, num_rows: int, parts: Parts) -> float:
    ways = home.ways(num_rows)
    inside_s = sum(home.stage_s(part.seat, Span(part.start, part.end), 0, num_rows) for part in parts)
    between_s = sum(ways[one.seat][other.seat] for one, other in pairwise(parts))
    return home.ask_s(parts[0].seat, num_rows) + inside_s + between_s + home.ask_s(parts[-1].seat)


def policies(home: Household, chain: Chain, request: Request) -> dict[str, Parts]:
    """By name, where a request goes; the first takes the quickest of all that is to be had."""
    seats, whole = home.seats(), home.num_layers
    named = {CHAIN: chain.parts} | {name: one.parts for name, one in placed(home, seats).items()}
    alone = [(Part(index, 0, whole),) for index, seat in enumerate(seats) if seat.alone >= whole]
    best = min((*named.values(), *alone), key=lambda parts: request_s(home, request, parts))
    return {CHOSEN: best} | named


def regrets(home: Household, chain: Chain) -> dict[str, float]:
    """By policy, seconds over those of the best that was to be had, by the true figures.

    The best is that of what the policies choose with an error and of what they would choose without.
    """
    rng = random.Random(f"request {home.name}")
    request, known = drawn(home, rng), believed(home, rng)
    chosen = policies(known, planned(known)[0], request)
    seconds = {name: request_s(home, request, parts) for name, parts in chosen.items()}
    best_s = request_s(home, request, policies(home, chain, request)[CHOSEN])
    least_s = min(best_s, *seconds.values())
    return {name: one_s / least_s for name, one_s in seconds.items()}


@dataclass(frozen=True, slots=True)
class RegretLine:
    """One policy over all households in which it finds room."""

    policy: str
    num_requests: int
    share_close: float
    """Within a tenth of the best in hindsight."""
    ratio: Spread | None
    """Its seconds over those of the best."""


def regret_lines(all_regrets: Sequence[Mapping[str, float]]) -> list[RegretLine]:
    """Sum up every policy."""
    found = []
    for policy in (CHOSEN, CHAIN, *RULES):
        ratios = [regret[policy] for regret in all_regrets if policy in regret]
        share = sum(ratio <= CLOSE for ratio in ratios) / max(1, len(ratios))
        found.append(RegretLine(policy, len(ratios), share, spread(ratios)))
    return found
