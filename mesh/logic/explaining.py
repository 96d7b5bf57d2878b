"""Why a request is answered in the way that it is, in a sentence.

Owns the wording. Pure. Must not know how options are ordered.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.decision import Option, OptionKind

_MANY_TIMES = 1.05  # below it two ways count as equal
_LEAST_S = 1e-4  # what is shorter counts as no time
_ROUNDED_TO_1_S = 0.995  # from here on two significant digits are those of a second


def reason(options: Sequence[Option]) -> str:
    """Say why the first option is the best of those that are to be had, or why there is none."""
    possible = [option for option in options if option.excluded is None]
    if not possible:
        return "nobody can answer: " + "; ".join(f"{o.name}: {o.excluded}" for o in options)
    best, others = possible[0], possible[1:]
    return f"{_what(best)}{_seconds(best)}{_because(best, others, options)}"


def _what(best: Option) -> str:
    match best.kind:
        case OptionKind.DEVICE:
            return f"{best.name} answers alone"
        case OptionKind.SPLIT:
            return f"{best.name} share the layers"
        case OptionKind.UPSTREAM:
            return f"the server {best.name} answers"


def _seconds(best: Option) -> str:
    prediction = best.prediction
    if prediction is None:
        return ""
    return (
        f", {prediction.num_tokens} tokens in about {seconds(prediction.last_token_s)} s "
        f"(the first after {seconds(prediction.first_token_s)})"
    )


def seconds(value_s: float, num_decimals: int = 1) -> str:
    """Write a time for people: with so many decimals, and with two significant digits below a second."""
    is_short = _LEAST_S <= value_s < _ROUNDED_TO_1_S
    return f"{value_s:.2g}" if is_short else f"{value_s:.{num_decimals}f}"


def _because(best: Option, others: Sequence[Option], options: Sequence[Option]) -> str:
    compared = [other for other in others if other.prediction is not None]
    if best.prediction is not None and compared:
        return _compared(best, compared[0], best.prediction.last_token_s)
    if best.kind is OptionKind.SPLIT and not any(o.kind is OptionKind.DEVICE for o in others):
        return ": no device holds the model alone"
    if not others:
        return ": there is no other way"
    if best.prediction is None and best.kind is not OptionKind.UPSTREAM:
        return ": how fast the devices are is not known, so the fewest that have room were taken"
    return ""


def _compared(best: Option, other: Option, best_s: float) -> str:
    assert other.prediction is not None
    if other.waits_for is not None and best.waits_for is None:
        return f": for {_other_way(best, other)}, {other.waits_for} lacks memory until other answers end"
    times = other.prediction.last_token_s / best_s if best_s > 0 else 1.0
    way = _other_way(best, other)
    if times >= _MANY_TIMES:
        return f": {way} would take {times:.1f} times as long"
    if times > 1 / _MANY_TIMES:
        return f": {way} would take as long"
    return f": {way} would not be better by enough"


def _other_way(best: Option, other: Option) -> str:
    if other.kind is OptionKind.SPLIT and best.kind is OptionKind.DEVICE:
        return f"splitting it over {other.name}"
    return other.name if other.kind is not OptionKind.SPLIT else f"sharing it among {other.name}"
