"""What a model thinks, told apart from its answer, as the text comes.

Owns where thinking begins and ends in a text that is cut anywhere. Must not know tokens, nor which models
think.

Only one block counts, the one at the beginning, between `<think>` and `</think>`. White space around both
tags belongs to nobody. Cases that a reader may expect otherwise:
- a `<think>` later in the answer is text: the answer is about it, or quotes it;
- a text that begins as the tag does and goes on differently is the answer, with its white space;
- where the prompt has opened the block, the answer begins within it; some models write the tag once more;
- a text that ends within the block has no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from mesh.types import THINK, THINK_END, Thinking


@dataclass(frozen=True, slots=True)
class Split:
    """Some text, in its parts; the reasoning comes first."""

    reasoning: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of either."""
        return not (self.reasoning or self.text)


class _At(Enum):
    """Where the next letter belongs."""

    TAG = auto()
    """To the opening tag, if there is one."""
    THOUGHT = auto()
    GAP = auto()
    """To the white space before the answer, or to the answer."""
    ANSWER = auto()


class ThoughtSplitter:
    """Splits one answer. What it returns is a function of the pieces that it took, so it can be rebuilt."""

    def __init__(self, thinking: Thinking = Thinking.NONE) -> None:
        self._at = _At.ANSWER if thinking is Thinking.NONE else _At.TAG
        self._without_tag = _At.THOUGHT if thinking is Thinking.BEGUN else _At.ANSWER
        """Where a text is that has no opening tag."""
        self._held = ""
        """What may be part of a tag, or of the white space around one."""
        self._has_thought = False

    def take(self, text: str) -> Split:
        """Take the next piece, and return what is certain now, maybe nothing."""
        if self._at is _At.ANSWER:
            return Split(text=text)
        whole, self._held = self._held + text, ""
        match self._at:
            case _At.TAG:
                return self._before(whole)
            case _At.THOUGHT:
                return self._within(whole)
            case _:
                return self._behind(whole)

    def finish(self) -> Split:
        """Return what was held back: the text is over."""
        held, self._held = self._held, ""
        if self._at is _At.THOUGHT or self._without_tag is _At.THOUGHT:
            return Split(reasoning=self._thought(held).rstrip())
        return Split(text=held)

    def _before(self, whole: str) -> Split:
        begun = whole.lstrip()
        if begun.startswith(THINK):
            self._at = _At.THOUGHT
            return self._within(begun.removeprefix(THINK))
        if THINK.startswith(begun):  # a part of it, or nothing yet
            self._held = whole
            return Split()
        self._at = self._without_tag
        return self._within(whole) if self._at is _At.THOUGHT else Split(text=whole)

    def _within(self, whole: str) -> Split:
        thought, tag, rest = whole.partition(THINK_END)
        if tag:
            self._at = _At.GAP
            behind = self._behind(rest)
            return Split(self._thought(thought).rstrip(), behind.text)
        end = _certain_end(whole)
        self._held = whole[end:]
        return Split(reasoning=self._thought(whole[:end]))

    def _behind(self, whole: str) -> Split:
        if text := whole.lstrip():
            self._at = _At.ANSWER
        return Split(text=text)

    def _thought(self, text: str) -> str:
        """Leave out the white space at the beginning."""
        text = text if self._has_thought else text.lstrip()
        self._has_thought = self._has_thought or bool(text)
        return text


def _certain_end(text: str) -> int:
    """Where a thought ends for sure: behind that may be the closing tag, or white space before it."""
    lengths = range(min(len(THINK_END) - 1, len(text)), -1, -1)
    length = next(length for length in lengths if text.endswith(THINK_END[:length]))
    return len(text[: len(text) - length].rstrip())
