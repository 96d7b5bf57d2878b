"""Which model a name means that is not exactly a model's.

Owns the rule: a model's other names count as its own, and so does a beginning that only one model has. Pure.
Must not know where models lie.

A beginning ends where a part of the name does: `mimo:7b` may mean `mimo:7b-rl`, and `smollm2:1` nothing.
Names that differ only by ':', '/' and '-' are the same, as for the folders that models lie in.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesh.errors import UnknownModel
from mesh.logic.skills import Model

_ENDS = "-._"  # of a name's part, as `_flat` writes it
_LONGEST_QUOTE = 80
_MOST_NAMES = 8  # in one line


def meant(wanted: str, models: Iterable[Model]) -> str:
    """Return the name of the model that is meant; the name itself where it means none of them.

    Raises UnknownModel that names them where it means several.
    """
    known = sorted(models, key=lambda model: model.name)
    for is_meant in (_is_called, _begins):
        found = [model.name for model in known if is_meant(model, wanted)]
        if len(found) > 1:
            raise UnknownModel(
                f"{wanted[:_LONGEST_QUOTE]!r} may mean {_listed(found)}; say the whole name of one"
            )
        if found:
            return found[0]
    return wanted


def _is_called(model: Model, wanted: str) -> bool:
    return _flat(wanted) in {_flat(name) for name in _names(model)}


def _begins(model: Model, wanted: str) -> bool:
    beginnings = tuple(_flat(wanted) + end for end in _ENDS)
    return any(_flat(name).startswith(beginnings) for name in _names(model))


def _names(model: Model) -> tuple[str, ...]:
    return (model.name, *(model.card.other_names if model.card else ()))


def _flat(name: str) -> str:
    return name.lower().replace(":", "-").replace("/", "-")


def _listed(names: list[str]) -> str:
    shown, more = names[:_MOST_NAMES], len(names) - _MOST_NAMES
    return f"{', '.join(shown)} or {more} others" if more > 0 else " or ".join(shown)
