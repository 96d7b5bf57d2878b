"""A virtual processor books its work one after the other, and pays for it in energy and heat."""

from __future__ import annotations

import dataclasses

import pytest

from mesh.errors import BadSetting
from mesh.types import Precision, StageKey
from simulator.devices.processor import Charge, FixedSpeed, Processor
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds
from simulator.devices.thermal import Heat
from simulator.profiles import BatteryProfile, device_profile, model_spec

SPEC = model_spec("llama3.2:3b")
KEY = StageKey(SPEC.digest, SPEC.whole, Precision.INT4)
DECODE = FrameSize(100, 1, samples=True)

PI = dataclasses.replace(device_profile("raspberry_pi_5"), idle_w=3.0, active_w=12.0)
FRAME_S = batch_seconds(PI, StageCost.of(SPEC, KEY), (DECODE,))


def charge(processor: Processor, now_s: float, size: FrameSize = DECODE) -> Charge:
    return processor.charge(now_s, SPEC, KEY, (size,))


def answer(processor: Processor, now_s: float, num_tokens: int) -> tuple[float, float]:
    """Decode some tokens one after the other; return when it is over and the last token's seconds."""
    for index in range(num_tokens):
        done = charge(processor, now_s, FrameSize(index, 1, samples=True))
        now_s = done.ends_s
    return now_s, done.ends_s - done.began_s


def test_a_healthy_processor_takes_what_the_roofline_says() -> None:
    done = charge(Processor(PI), 5.0)
    assert done.began_s == 5.0
    assert done.ends_s == pytest.approx(5.0 + FRAME_S)


def test_work_waits_for_the_work_before_it() -> None:
    processor = Processor(PI)
    first = charge(processor, 1.0)
    second = charge(processor, 1.1)
    assert second.began_s == first.ends_s
    assert charge(processor, 100.0).began_s == 100.0


def test_a_slow_device_takes_so_many_times_as_long_until_it_is_healthy_again() -> None:
    processor = Processor(PI)
    processor.slow_down(50.0)
    slow = charge(processor, 0.0)
    processor.slow_down(1.0)
    healthy = charge(processor, 1000.0)
    assert slow.ends_s - slow.began_s == pytest.approx(50 * FRAME_S)
    assert healthy.ends_s - healthy.began_s == pytest.approx(FRAME_S)
    assert processor.load_seconds(90_000_000) == pytest.approx(1.0)
    processor.slow_down(2.0)
    assert processor.load_seconds(90_000_000) == pytest.approx(2.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(BadSetting, match="must be above 0"):
        Processor(PI).slow_down(factor)


def test_energy_is_idle_power_all_the_time_and_active_power_while_busy() -> None:
    processor = Processor(PI, began_s=10.0)
    charge(processor, 20.0)
    state = processor.state(20.0 + FRAME_S + 5.0)
    assert state.busy_s == pytest.approx(FRAME_S)
    assert state.energy_j == pytest.approx(15.0 * 3.0 + FRAME_S * 12.0)


def test_busy_seconds_count_as_they_pass() -> None:
    processor = Processor(PI)
    charge(processor, 0.0)
    assert processor.state(FRAME_S / 4).busy_s == pytest.approx(FRAME_S / 4)
    assert processor.state(FRAME_S / 4).energy_j == pytest.approx(FRAME_S / 4 * 12.0)


def test_looking_changes_nothing() -> None:
    looked_at, left_alone = (Processor(device_profile("iphone_16_pro"), battery_level=0.5) for _ in range(2))
    for processor in (looked_at, left_alone):
        charge(processor, 1.0)
    for tenth in range(200):
        looked_at.state(tenth / 10)
    assert looked_at.state(50.0) == left_alone.state(50.0)


def test_work_given_up_is_paid_only_as_far_as_it_came() -> None:
    processor = Processor(PI)
    booked = charge(processor, 0.0)
    processor.refund(FRAME_S / 2, booked)
    assert processor.state(100.0).busy_s == pytest.approx(FRAME_S / 2)
    assert charge(processor, 100.0).began_s == 100.0


def test_waiting_work_given_up_frees_its_whole_place() -> None:
    processor = Processor(PI)
    first, waiting = charge(processor, 0.0), charge(processor, 0.0)
    processor.refund(FRAME_S / 2, waiting)
    assert charge(processor, FRAME_S / 2).began_s == first.ends_s


def test_work_given_up_keeps_what_was_booked_behind_it() -> None:
    processor = Processor(PI)
    first, second = charge(processor, 0.0), charge(processor, 0.0)
    processor.refund(FRAME_S / 2, first)
    assert charge(processor, FRAME_S / 2).began_s == second.ends_s


def test_a_phone_loses_nearly_half_its_speed_within_two_long_answers() -> None:
    # arXiv 2603.23640 saw it on an iPhone 16 Pro; long is 1,024 tokens here
    processor = Processor(device_profile("iphone_16_pro"), battery_level=1.0)
    _, cool_s = answer(processor, 0.0, 1)
    half_s, _ = answer(processor, 1.0, 1024)
    end_s, hot_s = answer(processor, half_s, 1024)
    assert processor.state(end_s).heat is Heat.THROTTLED
    assert 0.5 <= cool_s / hot_s <= 0.6
    assert 100 < end_s < 300


def test_a_phone_cools_down_when_left_alone() -> None:
    processor = Processor(device_profile("iphone_16_pro"))
    end_s, _ = answer(processor, 0.0, 2500)
    assert processor.state(end_s).heat is Heat.THROTTLED
    assert processor.state(end_s + 600).heat is Heat.NOMINAL


def test_in_a_hot_place_a_phone_comes_to_its_floor() -> None:
    processor = Processor(device_profile("iphone_16_pro"))
    processor.surround(0.0, 45.0)
    now_s, seen = 0.0, set()
    for _ in range(1500):
        now_s = charge(processor, now_s).ends_s
        seen.add(processor.state(now_s).heat)
    assert Heat.CRITICAL in seen
    processor.surround(now_s, 10.0)
    assert processor.state(now_s + 600).heat is Heat.NOMINAL


def test_a_fan_keeps_a_pc_at_full_speed() -> None:
    state = Processor(PI).state(10.0)
    assert (state.heat, state.degrees_c) == (Heat.NOMINAL, None)


def test_a_device_on_battery_dies_when_its_energy_is_used_up() -> None:
    tiny = dataclasses.replace(PI, battery=BatteryProfile(0.01))  # 36 J at 3 W
    processor = Processor(tiny, battery_level=0.5)
    assert processor.empty_at_s(2.0) == pytest.approx(6.0)
    assert not processor.state(5.9).is_dead
    assert processor.state(3.0).battery_level == pytest.approx(0.25)
    assert processor.state(6.1).is_dead
    assert processor.state(6.1).battery_level == 0.0


def test_work_brings_the_end_nearer() -> None:
    tiny = dataclasses.replace(PI, battery=BatteryProfile(0.01))
    idle, busy, long = (Processor(tiny, battery_level=1.0) for _ in range(3))
    charge(busy, 0.0)
    assert idle.empty_at_s(0.0) == pytest.approx(12.0)
    assert busy.empty_at_s(0.0) == pytest.approx(12.0 - FRAME_S * 9 / 3)
    long.slow_down(100.0)
    charge(long, 0.0)
    assert long.empty_at_s(0.0) == pytest.approx(3.0)
    assert long.empty_at_s(1.0) == pytest.approx(3.0)


def test_only_what_is_unplugged_drains() -> None:
    processor = Processor(device_profile("laptop_ryzen_ai_340"))
    assert processor.state(100.0).battery_level is None
    assert processor.empty_at_s(100.0) is None
    processor.unplug(100.0)
    assert processor.state(100.0).battery_level == 1.0
    an_hour = processor.state(3700.0).battery_level
    assert an_hour == pytest.approx(1 - 8 / 61)
    processor.plug_in(3700.0)
    assert processor.state(9999.0).battery_level == an_hour
    assert processor.empty_at_s(9999.0) is None
    processor.unplug(9999.0)
    assert processor.state(9999.0).battery_level == an_hour


def test_a_battery_can_be_given_a_level() -> None:
    processor = Processor(device_profile("laptop_ryzen_ai_340"))
    processor.unplug(0.0, 0.25)
    assert processor.is_on_battery
    assert processor.state(0.0).battery_level == 0.25
    processor.unplug(100.0, 0.5)
    assert processor.state(100.0).battery_level == 0.5
    processor.plug_in(100.0)
    assert not processor.is_on_battery


def test_what_has_no_battery_cannot_be_unplugged() -> None:
    with pytest.raises(BadSetting, match="Mac mini M4 has no battery to run on"):
        Processor(device_profile("mac_mini_m4")).unplug(0.0)


def test_a_fixed_speed_takes_the_same_for_everything() -> None:
    fixed = FixedSpeed(0.01)
    assert (
        fixed.charge(1.0, SPEC, KEY, (DECODE,))
        == fixed.charge(1.0, SPEC, KEY, (DECODE,))
        == Charge(1.0, 1.01)
    )
    assert fixed.load_seconds(10**9) == 0.0
