"""The tables follow the values that they stand for, and the published schema follows the tables."""

from __future__ import annotations

import json
from dataclasses import fields

import msgspec

from mesh.config import Timing
from simulator.result import Figures
from simulator.scenario.kinds import AMOUNT_KEYS, ENDED_BY, keys_of
from simulator.scenario.publish import SCHEMA_PATH, schema_text
from simulator.scenario.schema import DEEDS, Budgets, Step, TimingTable, Undo
from simulator.script import FaultKind


def test_the_published_schema_is_what_the_tables_give() -> None:
    published = SCHEMA_PATH.read_text(encoding="utf-8")
    assert published == schema_text(), "run `python -m simulator.scenario.publish`"


def test_every_key_of_the_schema_says_what_it_is() -> None:
    tables = json.loads(schema_text())["$defs"].values()
    without = [
        (t["title"], key)
        for t in tables
        for key, v in t.get("properties", {}).items()
        if "description" not in v
    ]
    assert not without


def test_there_is_a_budget_for_each_figure_and_a_key_for_each_wait() -> None:
    assert Budgets.__struct_fields__ == tuple(field.name for field in fields(Figures))
    waits = {field.name for field in fields(Timing) if field.name.endswith("_s")}
    assert {f"{name}_s" for name in TimingTable.__struct_fields__} == waits


def test_every_fault_can_be_written_and_ended() -> None:
    assert set(DEEDS) == {kind.value for kind in FaultKind} | {word.value for word in Undo}
    ended = {kind for kinds in ENDED_BY.values() for kind in kinds}
    assert ended == set(FaultKind) - {FaultKind.START, FaultKind.RESET}
    names = {field.encode_name for field in msgspec.structs.fields(Step)}
    assert all(keys_of(kind) <= names for kind in (*FaultKind, *Undo))
    assert set(AMOUNT_KEYS.values()) <= names
