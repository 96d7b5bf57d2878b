"""What is to be placed, and who has memory for it.

Owns the values that all planning reckons with: what is known of a usable node, and what a model weighs
with the cache of one session. Pure. Must not know how nodes are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.spec import ModelSpec
from mesh.types import (
    Condition,
    LinkRecord,
    LoadedStage,
    NodeRecord,
    PlannedStage,
    Precision,
    Span,
    SpeedRecord,
    StageKey,
)

_MB = 1_000_000
_MOST_NAMES = 8  # in one line


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that has the model on its disk and may be used, with what is known of its memory."""

    node: NodeRecord
    memory_bytes: int
    """What its owner lends to the mesh."""
    spare_bytes: int = 0
    """Part of the memory that new plans leave free; replacements and warm copies may use it."""
    used_bytes: int = 0
    """Weights and caches that it holds now, as it announced."""
    stages: tuple[LoadedStage, ...] = ()
    """What is loaded there now."""
    doubts: int = 0
    """How often it has failed the session at hand."""
    speed: SpeedRecord | None = None
    """How fast it computes, as it announced."""
    links: tuple[LinkRecord, ...] = ()
    """The ways from there to others, as it announced."""
    num_sessions: int = 0
    """Whose caches it holds now."""
    condition: Condition | None = None
    """Its battery and the like, as it announced."""
    correction: float = 1.0
    """Times as long as announced that it takes, by what was seen of it."""

    @property
    def plannable_bytes(self) -> int:
        """Memory that new plans may use."""
        return max(0, self.memory_bytes - self.spare_bytes)

    @property
    def free_bytes(self) -> int:
        """Memory that holds nothing now."""
        return max(0, self.memory_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True)
class Offer:
    """Memory of one node that may be filled."""

    node: NodeRecord
    room_bytes: int


@dataclass(frozen=True, slots=True)
class Capacities:
    """Layers that one node could hold in each place of a chain; below 1: it cannot be there."""

    inner: int
    first: int
    last: int
    alone: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be placed."""

    spec: ModelSpec
    precision: Precision
    context: int
    """Positions of one session."""

    @property
    def layer_bytes(self) -> int:
        """Weights and cache of one layer."""
        return self._layer_bytes(1)

    @property
    def whole_bytes(self) -> int:
        """Everything on one node."""
        return self.spec.num_layers * self.layer_bytes + self._ends_bytes(1, first=True, last=True)

    @property
    def split_bytes(self) -> int:
        """Everything on several nodes together: a tied table is then held at both ends."""
        first = self._ends_bytes(1, first=True, last=False)
        last = self._ends_bytes(1, first=False, last=True)
        return self.spec.num_layers * self.layer_bytes + first + last

    def capacities(self, memory_bytes: int, span: Span, num_sessions: int = 1) -> Capacities:
        """What a node could hold of a span, with the caches of so many sessions.

        The model's ends are counted where the span touches them. Negative where not even those fit.
        """
        is_first, is_last = self.spec.is_first(span), self.spec.is_last(span)
        layer_bytes = self._layer_bytes(num_sessions)

        def count(*, first: bool = False, last: bool = False) -> int:
            return (memory_bytes - self._ends_bytes(num_sessions, first=first, last=last)) // layer_bytes

        return Capacities(
            inner=count(),
            first=count(first=is_first),
            last=count(last=is_last),
            alone=count(first=is_first, last=is_last),
        )

    def _layer_bytes(self, num_sessions: int) -> int:
        cache_bytes = self.spec.layer_cache_bytes(self.context, self.precision)
        return self.spec.layer_bytes(self.precision) + num_sessions * cache_bytes

    def _ends_bytes(self, num_sessions: int, *, first: bool, last: bool) -> int:
        weights_bytes = self.spec.ends_bytes(self.precision, first=first, last=last)
        cache_bytes = self.spec.ends_cache_bytes(self.context, self.precision, last=last)
        return weights_bytes + num_sessions * cache_bytes

    def stage(self, node: NodeRecord, span: Span) -> PlannedStage:
        """Return the span as a stage on a node, with its bytes."""
        weights_bytes = self.spec.weights_bytes(span, self.precision)
        cache_bytes = self.spec.cache_bytes(span, self.context, self.precision)
        return PlannedStage(node, span, weights_bytes, cache_bytes)

    def key(self, span: Span) -> StageKey:
        """Name the stage that a node has loaded for the span."""
        return StageKey(self.spec.digest, span, self.precision)


def held_bytes(stage: PlannedStage) -> int:
    """Weights of a stage and the cache of one session."""
    return stage.weights_bytes + stage.cache_bytes


def megabytes(num_bytes: int, *, down: bool = False) -> int:
    """Whole megabytes for people: a need is rounded up, an offer down."""
    return num_bytes // _MB if down else -(-num_bytes // _MB)


def listed(offers: Sequence[str]) -> str:
    """Join what devices offer, the roomiest first, to a text that stays one line however many they are."""
    shown = ", ".join(offers[:_MOST_NAMES])
    more = len(offers) - _MOST_NAMES
    return f"{shown} and {more} others" if more > 0 else shown
