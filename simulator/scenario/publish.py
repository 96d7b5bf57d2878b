"""The JSON Schema of scenarios, for editors that check and complete TOML.

Owns its form. `python -m simulator.scenario.publish` writes docs/scenario.schema.json anew; a test fails when
the file is not what the tables give. It says what one value may be; what fits together only `load` says.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from simulator.scenario.schema import ScenarioTables
from simulator.scenario.spreads import Counts, Spread
from simulator.units import Quantity

SCHEMA_PATH = Path(__file__).parents[2] / "docs" / "scenario.schema.json"


def schema_text() -> str:
    """Return the JSON Schema (draft 2020-12) of a scenario's file."""
    schema = msgspec.json.schema(ScenarioTables, schema_hook=_own_type)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of ambient-mesh",
    }
    return json.dumps({**head, **_without_null(schema)}, indent=2, ensure_ascii=False) + "\n"


def write_schema() -> None:
    """Write the published file."""
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")


def _own_type(kind: type[object]) -> dict[str, object]:
    """Describe a type of ours."""
    if issubclass(kind, Quantity):
        return _quantity(kind)
    if issubclass(kind, Counts):
        return _or_pair({"type": "integer", "minimum": 1})
    if issubclass(kind, Spread):
        return _or_pair(_quantity(kind.kind))
    raise NotImplementedError(kind)


def _quantity(kind: type[Quantity]) -> dict[str, object]:
    units = "|".join(kind.units)
    optional = "?" if kind.bare else ""
    text: dict[str, object] = {
        "type": "string",
        "pattern": rf"^\s*[+-]?[0-9]+(\.[0-9]+)?\s*({units}){optional}\s*$",
    }
    return {"anyOf": [text, {"type": "number"}]} if kind.bare else text


def _or_pair(one: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]}


def _without_null(schema: object) -> dict[str, object]:
    """Take out what TOML has no word for: a key that says nothing is left out."""
    cleaned = _cleaned(schema)
    assert isinstance(cleaned, dict)
    return cleaned


def _cleaned(schema: object) -> object:
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _cleaned(value) for key, value in schema.items() if not (key == "default" and value is None)}
    only = kept.get("anyOf")
    if isinstance(only, list) and len(only) == 1:
        del kept["anyOf"]
        kept = {**only[0], **kept}
    return kept


if __name__ == "__main__":
    write_schema()
