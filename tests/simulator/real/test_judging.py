"""What is judged of a real run: every wrong token, every early end, every endless silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.types import FinishReason, Sampling, Summary
from simulator.asking import Asked
from simulator.claims import Invariant
from simulator.parts import Parts
from simulator.profiles import model_spec
from simulator.real.judging import Attempt, Patience, Witness, judge_answers
from simulator.script import RequestScript, Script
from simulator.token_function import reference_tokens
from tests.simulator.scripts import a_device, a_request, a_script

ASKED = replace(a_request(), temperature=0.8, seed=3)


def script(*invariants: Invariant) -> Script:
    return replace(a_script(a_device("a"), requests=(ASKED,)), always=invariants)


def right(request: RequestScript = ASKED) -> tuple[int, ...]:
    """What the undivided model answers."""
    spec, parts = model_spec(request.model), Parts()
    prompt, sampling = parts.prompt_ids(spec, request.prompt), Sampling(temperature=0.8, seed=3)
    return reference_tokens(spec, prompt, sampling, request.max_tokens, parts.stop_ids(spec))[0]


def ended(tokens: tuple[int, ...], summary: Summary | None = None) -> Attempt:
    return Attempt(ASKED, tokens, summary, 5.0)


def whole(tokens: tuple[int, ...]) -> Attempt:
    summary = Summary(ASKED.model, FinishReason.LENGTH, tokens, 8, 3, ttft_s=0.1, tokens_per_s=1.0)
    return ended(tokens, summary)


def complaints(*attempts: Attempt) -> list[tuple[str, float]]:
    judged = judge_answers(script(Invariant.EXACT_TOKENS), Parts(), attempts)
    return [(complaint.name, complaint.at_s) for complaint in judged]


def test_the_answer_of_the_undivided_model_is_right() -> None:
    assert complaints(whole(right())) == []


def test_an_answer_that_ends_with_an_error_may_be_any_beginning() -> None:
    assert complaints(ended(()), ended(right()[:7])) == []


@pytest.mark.parametrize(
    "tokens",
    [
        (*right()[:3], *right()[4:9]),
        (*right()[:3], right()[2], *right()[3:9]),
        (*right()[:3], right()[4], right()[3], *right()[5:9]),
    ],
    ids=["missing", "doubled", "out of order"],
)
def test_a_token_in_the_wrong_place_is_told_whatever_the_end(tokens: tuple[int, ...]) -> None:
    assert ("exact_tokens", 5.0) in complaints(ended(tokens))


def test_a_whole_answer_that_ends_early_is_told() -> None:
    assert complaints(whole(right()[:9])) == [("exact_tokens", 5.0)]


def test_nothing_is_judged_that_the_script_does_not_claim() -> None:
    assert judge_answers(script(), Parts(), [ended((1, 2, 3))]) == ()


def test_a_witness_remembers_every_attempt_of_a_request() -> None:
    witness, asked = Witness(), Asked(ASKED)
    for tokens in ([1, 2], [1, 2, 3]):
        asked.begin(1.0)
        asked.tokens, asked.ended_s = tokens, 5.0
        witness.ended(asked, None)
    assert witness.attempts == [ended((1, 2)), ended((1, 2, 3))]


def test_a_request_that_hears_nothing_for_too_long_is_told_once_it_is_too_long() -> None:
    now_s = [0.0]
    patience, asked = Patience(script(Invariant.ONE_END), lambda: now_s[0]), Asked(ASKED)
    asked.begin(0.0)
    assert not patience.is_over([asked])
    now_s[0] = 1000.0
    assert patience.is_over([asked])
    assert [complaint.name for complaint in patience.complaints] == ["one_end"]
