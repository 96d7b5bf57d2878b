"""Who guesses for an answer.

Owns the choice of drafters, and whether a small model fits a large one. Must not know what a guess is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.config import Planning
from mesh.errors import MeshError
from mesh.logic.drafting import Drafter, PromptLookup, Told
from mesh.logic.speculation import Speculation
from mesh.ports import Library, TextCodec
from mesh.spec import ModelSpec
from mesh.types import Digest, Drafting


@dataclass(frozen=True, slots=True)
class Guesswork:
    """How one answer is guessed."""

    speculation: Speculation | None
    """None where nobody guesses."""
    model: ModelSpec | None = None
    """The small model that guesses too."""
    note: str = ""
    """Why somebody does not guess who should; empty where nothing is amiss."""


class Guessing:
    """Finds who guesses for the answers of one gateway."""

    def __init__(self, library: Library, planning: Planning) -> None:
        self._library = library
        self._planning = planning
        self._unfit: dict[tuple[Digest, Digest], str] = {}
        """Why a small model does not fit a large one, by both; empty where it does."""

    async def prepare(self, drafting: Drafting | None, spec: ModelSpec, codec: TextCodec) -> Guesswork:
        """Return who guesses for an answer of a model, as its request or else this gateway's owner has it."""
        wanted = drafting or self._planning.drafting
        drafters: list[Drafter] = []
        if wanted in (Drafting.AUTO, Drafting.LOOKUP):
            drafters.append(PromptLookup())
        if wanted in (Drafting.AUTO, Drafting.MTP) and spec.has_mtp:
            drafters.append(Told(Drafting.MTP, spec.vocab_size))
        model, note = None, ""
        if wanted is Drafting.MTP and not (spec.has_mtp or spec.no_mtp):  # that is said of the model anyway
            note = f"{spec.name} guesses no tokens by itself: it has no layer for that"
        if wanted in (Drafting.AUTO, Drafting.MODEL):
            model, note = await self._model(spec, codec, is_asked=wanted is Drafting.MODEL)
        if model is not None:
            drafters.append(Told(Drafting.MODEL, spec.vocab_size))
        depth, num_ahead = self._planning.draft_depth, self._planning.draft_ahead
        speculation = Speculation(drafters, depth, num_ahead) if drafters else None
        return Guesswork(speculation, model, note)

    async def _model(
        self, spec: ModelSpec, codec: TextCodec, *, is_asked: bool
    ) -> tuple[ModelSpec | None, str]:
        """The small model that guesses for a large one; or None, and why."""
        name = self._planning.draft_model
        if name is None:
            return None, "no model guesses here: name one with `mesh up --draft-model`" if is_asked else ""
        try:
            small = await self._library.spec(name)
            if small.digest == spec.digest:
                return None, ""
            unfit = await self._why_unfit(small, spec, codec)
        except MeshError as error:
            return None, f"{name} does not guess: {error}"
        return (small, "") if not unfit else (None, unfit)

    async def _why_unfit(self, small: ModelSpec, spec: ModelSpec, codec: TextCodec) -> str:
        key = (small.digest, spec.digest)
        if key not in self._unfit:
            others = await self._library.codec(small.name)
            is_same = others.vocabulary == codec.vocabulary
            text = f"{small.name} does not guess for {spec.name}: it has another vocabulary"
            self._unfit[key] = "" if is_same else text
        return self._unfit[key]
