"""Where two runs part, in words and as JSON.

Owns the words. Must not know where the runs come from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from simulator.report.story import describe
from simulator.script import Script
from simulator.search.diff import Difference, first_difference
from simulator.search.replay import Recording
from simulator.trace import Event


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs with the names that a person gave them."""

    left: Recording
    right: Recording
    left_name: str
    right_name: str
    difference: Difference | None

    @property
    def is_same(self) -> bool:
        """Whether the runs are the same to the last byte of the last message."""
        return self.left.digest == self.right.digest

    def words(self) -> str:
        """All that can be said, some lines."""
        if self.is_same:
            return f"the same run: digest {self.left.digest}"
        lines = [f"two runs: digest {self.left.digest} and {self.right.digest}", *self._hints()]
        return "\n".join([*lines, *self._first()])

    def to_json(self) -> dict[str, object]:
        """Return `mesh-sim diff --json`."""
        found = self.difference
        return {
            "is_same": self.is_same,
            "digests": [self.left.digest, self.right.digest],
            "difference": asdict(found) if found else None,
        }

    def _hints(self) -> list[str]:
        """Why they may differ, where that is known."""
        left, right = self.left, self.right
        hints = []
        if left.package_version != right.package_version:
            versions = f"{left.package_version} and {right.package_version}"
            hints.append(f"ambient-mesh {versions} ran them, and a change of code may change runs")
        if (left.script.scenario, left.script.seed) == (right.script.scenario, right.script.seed):
            hints += _changes(left.script, right.script)
        if left.maths != right.maths:
            hints.append(f"they computed with {left.maths} and {right.maths} mathematics")
        return hints

    def _first(self) -> list[str]:
        found = self.difference
        if found is None:
            return ["their events are the same; the bytes of a message that was not kept differ"]
        same = f"the same events at first: {found.index:,}" if found.index else "the first event differs"
        names = [f"{name}:" for name in (self.left_name, self.right_name)]
        width = max(map(len, names))
        return [
            same + (", the last of them:" if found.before else ""),
            *(f"  {_line(event)}" for event in found.before),
            *(["then"] if found.before else []),
            f"  {names[0]:<{width}} {_line(found.left)}{_rest(found.left, found.num_left)}",
            f"  {names[1]:<{width}} {_line(found.right)}{_rest(found.right, found.num_right)}",
        ]


def compare(left: Recording, right: Recording, left_name: str, right_name: str) -> Comparison:
    """Compare two runs. Equal digests settle it; else their events are gone through."""
    is_same = left.digest == right.digest
    difference = None if is_same else first_difference(left.events, right.events)
    return Comparison(left, right, left_name, right_name, difference)


def _changes(left: Script, right: Script) -> list[str]:
    """In what two scripts of one scenario and seed differ: its file was changed, or the run made small."""
    names = [field.name for field in fields(Script)]
    changed = [name for name in names if getattr(left, name) != getattr(right, name)]
    return [f"one scenario and seed, but two scripts: they differ in {', '.join(changed)}"] if changed else []


def _line(event: Event | None) -> str:
    if event is None:
        return "has ended"
    return f"{event.at_s:.6f} s  {describe(event)}"


def _rest(event: Event | None, num_more: int) -> str:
    return "" if event is None else f" ({num_more:,} more after it)"
