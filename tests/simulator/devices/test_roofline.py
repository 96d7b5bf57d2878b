"""The roofline gives the speeds that were measured on real devices, and its parts can be counted by hand.

The measured files were Q4_0 or Q4_K_M, at about 4.5 to 4.9 bits a weight; ours has 5 bits (groups of 32
with a scale and a zero), and efficiencies are derived for it. Where several rows were measured on one
device, its one efficiency lies between them: hence the margin.
"""

from __future__ import annotations

import dataclasses

import pytest

from mesh.types import Precision, Span, StageKey
from simulator.devices.roofline import (
    FrameSize,
    StageCost,
    batch_bytes,
    batch_seconds,
    frame_flops,
    load_seconds,
)
from simulator.profiles import device_profile, model_spec

DECODED = [  # tokens a second: one row, 128 positions before it
    ("xiaomi_15_ultra", "llama3.2:1b", 51.5),
    ("xiaomi_14", "qwen2.5:1.5b", 27.3),
    ("raspberry_pi_5", "llama3.2:3b", 4.88),
    ("raspberry_pi_5", "llama3.1:8b", 2.17),
    ("laptop_ryzen_ai_340", "llama3.2:3b", 23.8),
    ("mini_pc_n150", "qwen2.5:14b", 2.13),
    ("mac_mini_m4", "llama3.2:3b", 41.3),
    ("mac_mini_m4", "llama3.1:8b", 20.9),
    ("pc_rtx_4090", "llama3.2:3b", 334.7),
    ("pc_rtx_4090", "qwen2.5:14b", 92.5),
]
PREFILLED = [  # tokens a second of a prompt of 512
    ("xiaomi_15_ultra", "llama3.2:1b", 169.0),
    ("xiaomi_14", "qwen2.5:1.5b", 239.0),
    ("mac_mini_m4", "llama3.1:8b", 225.0),
]


def cost_of(model: str, span: Span | None = None, precision: Precision = Precision.INT4) -> StageCost:
    spec = model_spec(model)
    return StageCost.of(spec, StageKey(spec.digest, span or spec.whole, precision))


@pytest.mark.parametrize(("device", "model", "measured"), DECODED)
def test_decoding_is_as_fast_as_measured(device: str, model: str, measured: float) -> None:
    seconds = batch_seconds(device_profile(device), cost_of(model), (FrameSize(128, 1, samples=True),))
    assert 1 / seconds == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(("device", "model", "measured"), PREFILLED)
def test_a_prompt_is_read_as_fast_as_measured(device: str, model: str, measured: float) -> None:
    seconds = batch_seconds(device_profile(device), cost_of(model), (FrameSize(0, 512, samples=True),))
    assert 512 / seconds == pytest.approx(measured, rel=0.1)


def test_bytes_and_operations_are_those_counted_by_hand() -> None:
    # tiny: 12 layers of 64 x (2 x 64 + 2 x 32 + 3 x 128) = 36,864 weights; q 64, kv 32; vocabulary 256
    cost = cost_of("tiny")
    size = FrameSize(position=10, num_rows=3, samples=True)
    layers = 12 * (36_864 // 2 + 36_864 // 8 + 512)
    cache = 13 * 12 * 2 * 32 * 2
    assert batch_bytes(cost, (size,)) == layers + cache + 3 * 68 + 256 * 68
    attention = (11 + 12 + 13) * 12 * 4 * 64
    assert frame_flops(cost, size) == 3 * 12 * 2 * 36_864 + attention + 2 * 256 * 64


def test_the_weights_read_are_those_that_the_plan_counts() -> None:
    # all but the final norm's 4 bytes a value, and the embeddings, of which a row is read; a layer for
    # multi-token prediction is held and not read, for virtual devices do not guess with it
    spec, cost = dataclasses.replace(model_spec("mimo:7b-rl"), has_mtp=False), cost_of("mimo:7b-rl")
    held = spec.weights_bytes(spec.whole, Precision.INT4)
    assert cost.layers_bytes + cost.head_bytes == held - 4 * 4096 - spec.table_bytes(Precision.INT4)


def test_only_the_last_stage_has_a_head_and_only_the_first_embeds() -> None:
    first, last = cost_of("mimo:7b-rl", Span(0, 18)), cost_of("mimo:7b-rl", Span(18, 36))
    assert (first.head_bytes, first.head_flops, last.embedding_bytes) == (0, 0, 0)
    assert last.head_bytes == 151_680 * 4352
    assert first.embedding_bytes == 4352
    assert first.layers_bytes == last.layers_bytes


def test_the_head_runs_on_one_row_and_only_where_a_token_is_drawn() -> None:
    cost = cost_of("mimo:7b-rl")
    for rows in (1, 512):
        with_head, without = FrameSize(0, rows, samples=True), FrameSize(0, rows, samples=False)
        assert batch_bytes(cost, (with_head,)) - batch_bytes(cost, (without,)) == cost.head_bytes
        assert frame_flops(cost, with_head) - frame_flops(cost, without) == 2 * 151_680 * 4096


def test_a_prompt_cut_into_frames_takes_the_same_operations() -> None:
    cost = cost_of("llama3.2:1b")
    whole = frame_flops(cost, FrameSize(0, 100, samples=False))
    parts = [FrameSize(start, 20, samples=False) for start in range(0, 100, 20)]
    assert sum(frame_flops(cost, part) for part in parts) == whole


def test_one_row_waits_for_memory_and_many_rows_for_arithmetic() -> None:
    profile, cost = device_profile("mac_mini_m4"), cost_of("llama3.1:8b")
    slow_memory = dataclasses.replace(profile, bandwidth_bytes_per_s=profile.bandwidth_bytes_per_s / 2)
    slow_arithmetic = dataclasses.replace(profile, prefill_flops=profile.prefill_flops / 2)
    one, many = FrameSize(0, 1, samples=True), FrameSize(0, 512, samples=True)
    assert batch_seconds(slow_arithmetic, cost, (one,)) == batch_seconds(profile, cost, (one,))
    assert batch_seconds(slow_memory, cost, (one,)) == pytest.approx(
        2 * batch_seconds(profile, cost, (one,)), rel=0.02
    )
    assert batch_seconds(slow_memory, cost, (many,)) == batch_seconds(profile, cost, (many,))


def test_float32_moves_four_bytes_a_weight_and_value() -> None:
    cost = cost_of("tiny", precision=Precision.F32)
    assert cost.layers_bytes == 12 * 4 * (36_864 + 128)
    assert cost.cache_bytes == 12 * 2 * 32 * 4
    assert cost.embedding_bytes == 64 * 4


def test_loading_takes_what_was_measured_on_a_phone() -> None:
    spec = model_spec("qwen2.5:1.5b")
    num_bytes = spec.weights_bytes(spec.whole, Precision.INT4)
    assert load_seconds(device_profile("xiaomi_14"), num_bytes) == pytest.approx(7.7, rel=0.02)


def test_tokens_of_many_share_the_weights_but_not_their_caches() -> None:
    profile, cost = device_profile("mac_mini_m4"), cost_of("llama3.1:8b")
    one = FrameSize(128, 1, samples=True)
    assert batch_bytes(cost, (one,) * 8) == batch_bytes(cost, (one,)) + 7 * (
        129 * cost.cache_bytes + cost.embedding_bytes
    )
    assert batch_seconds(profile, cost, (one,) * 8) < 1.1 * batch_seconds(profile, cost, (one,))
