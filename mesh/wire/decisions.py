"""Decisions ⇄ protobuf.

Each pair of functions is the inverse of the other, as in `mesh.wire.values`.
"""

from __future__ import annotations

from mesh.decision import Decision, Option, OptionKind, Prediction, Privacy, Share
from mesh.wire import client_pb2
from mesh.wire.values import span_from_pb, span_to_pb

_KINDS = frozenset(kind.value for kind in OptionKind)
"""Options of other kinds are of a newer version, and passed over."""


def privacy_from_pb(text: str) -> Privacy:
    """Read a privacy; an older client says nothing, which is the mesh."""
    return Privacy(text) if text else Privacy.MESH


def decision_to_pb(value: Decision) -> client_pb2.Decision:
    """Write a decision."""
    return client_pb2.Decision(
        model=value.model,
        privacy=value.privacy,
        num_prompt=value.num_prompt,
        options=[_option_to_pb(option) for option in value.options],
        reason=value.reason,
        notes=value.notes,
    )


def decision_from_pb(pb: client_pb2.Decision) -> Decision:
    """Read a decision; raises ValueError for words that are not known."""
    return Decision(
        model=pb.model,
        privacy=privacy_from_pb(pb.privacy),
        num_prompt=pb.num_prompt,
        options=tuple(_option_from_pb(option) for option in pb.options if option.kind in _KINDS),
        reason=pb.reason,
        notes=tuple(pb.notes),
    )


def _option_to_pb(value: Option) -> client_pb2.Option:
    return client_pb2.Option(
        kind=value.kind,
        model=value.model,
        shares=[client_pb2.OptionShare(name=s.name, span=span_to_pb(s.span)) for s in value.shares],
        upstream=value.upstream,
        prediction=None if value.prediction is None else _prediction_to_pb(value.prediction),
        excluded=value.excluded,
        waits_for=value.waits_for,
    )


def _option_from_pb(pb: client_pb2.Option) -> Option:
    return Option(
        kind=OptionKind(pb.kind),
        model=pb.model,
        shares=tuple(Share(share.name, span_from_pb(share.span)) for share in pb.shares),
        upstream=pb.upstream if pb.HasField("upstream") else None,
        prediction=_prediction_from_pb(pb.prediction) if pb.HasField("prediction") else None,
        excluded=pb.excluded if pb.HasField("excluded") else None,
        waits_for=pb.waits_for if pb.HasField("waits_for") else None,
    )


def _prediction_to_pb(value: Prediction) -> client_pb2.Prediction:
    return client_pb2.Prediction(
        load_s=value.load_s,
        prefill_s=value.prefill_s,
        token_s=value.token_s,
        num_tokens=value.num_tokens,
        energy_j=value.energy_j,
        battery_j=value.battery_j,
    )


def _prediction_from_pb(pb: client_pb2.Prediction) -> Prediction:
    return Prediction(pb.load_s, pb.prefill_s, pb.token_s, pb.num_tokens, pb.energy_j, pb.battery_j)
