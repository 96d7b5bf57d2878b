"""Values that cannot be right cannot be made."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mesh.errors import BadSetting
from mesh.types import (
    Address,
    DeviceClass,
    Digest,
    ModelRef,
    NodeId,
    NodeRecord,
    Plan,
    PlannedStage,
    Precision,
    ProtocolVersion,
    Sampling,
    Span,
    StageKey,
)
from tests.speeds import SPEED


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.1.20:7070", Address("192.168.1.20", 7070)),
        ("tv.local:0", Address("tv.local", 0)),
        ("[fe80::1]:65535", Address("fe80::1", 65535)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "tv", ":7070", "tv:", "tv:port", "tv:-1", "tv:65536", "tv:70.70", "[]:1", "tv:0x10", "fe80::1"],
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(BadSetting, match=f"'{text}'".replace("[", r"\[").replace("]", r"\]")):
        Address.parse(text)


def test_a_span_is_half_open() -> None:
    assert Span(0, 1).num_layers == 1
    assert str(Span(3, 17)) == "[3, 17)"


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_an_empty_span_cannot_be_made(start: int, end: int) -> None:
    with pytest.raises(BadSetting, match=rf"\[{start}, {end}\) is not a span of layers"):
        Span(start, end)


def test_sampling_takes_its_extremes() -> None:
    Sampling(temperature=1e9, top_k=1, top_p=1e-9, min_p=1.0, seed=2**64 - 1)
    Sampling(temperature=0.0, top_k=None, top_p=1.0, min_p=0.0, seed=0)


@pytest.mark.parametrize("temperature", [-0.1, math.inf, math.nan])
def test_temperatures_that_mean_nothing(temperature: float) -> None:
    with pytest.raises(BadSetting, match="temperature must be 0 or more"):
        Sampling(temperature=temperature)


@pytest.mark.parametrize("top_p", [0.0, 1.01, -1.0, math.nan])
def test_top_p_outside_its_range(top_p: float) -> None:
    with pytest.raises(BadSetting, match="top_p"):
        Sampling(top_p=top_p)


@pytest.mark.parametrize("min_p", [-0.01, 1.01, math.nan])
def test_min_p_outside_its_range(min_p: float) -> None:
    with pytest.raises(BadSetting, match="min_p"):
        Sampling(min_p=min_p)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one(top_k: int) -> None:
    with pytest.raises(BadSetting, match="top_k"):
        Sampling(top_k=top_k)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_64_bits(seed: int) -> None:
    with pytest.raises(BadSetting, match="seed"):
        Sampling(seed=seed)


def test_a_plan_names_what_each_node_must_load() -> None:
    address = Address("10.0.0.1", 7070)
    record = NodeRecord(NodeId("1" * 32), "tv", DeviceClass.TV, address, "home", ProtocolVersion(1, 0), 1)
    stage = PlannedStage(record, Span(2, 5), weights_bytes=1, cache_bytes=1)
    plan = Plan(ModelRef("tiny", Digest("a" * 64)), Precision.F32, 1024, (stage,))
    assert plan.key(stage) == StageKey(Digest("a" * 64), Span(2, 5), Precision.F32)
    assert record.at(Address("10.0.0.2", 1)).address == Address("10.0.0.2", 1)
    assert record.address == address


def test_speeds_of_a_whole_model_follow_from_a_layer_and_the_head() -> None:
    assert SPEED.decode_tokens_per_s == pytest.approx(1 / (10 * 0.0005 + 0.005))
    assert SPEED.prefill_tokens_per_s == pytest.approx(1 / (10 * 0.0001))
    assert SPEED.weights_rate_bytes_per_s == pytest.approx(2_000_000 / 0.0005)
    assert SPEED.further_session_s == pytest.approx((0.024 - 0.010) / 7)
    alone = replace(SPEED, steps=SPEED.steps[:1])
    assert alone.further_session_s == pytest.approx(0.010)
    with pytest.raises(BadSetting, match="at least one step"):
        replace(SPEED, steps=())
