"""A scenario and a seed make one script, and leaving out an item leaves the others as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mesh.config import Timing
from simulator.profiles import device_profile, link_profile
from simulator.scenario import expand, parse
from simulator.script import Budget, Fault, FaultKind, PathScript, Promise, RequestScript, Script

TOP = 'summary = "s"\nduration = "100s"\n'
TV = '[[devices]]\nname = "tv"\nprofile = "android_tv"\n'
PC = '[[devices]]\nname = "pc"\nprofile = "pc_rtx_4090"\n'
PHONES = '[[devices]]\nname = "phone"\nprofile = "midrange_phone"\ncount = 12\n'
POISSON = '[[workload]]\nfrom = "phone"\nper_minute = 30\n'
PROMISE = '[[eventually]]\npromise = "answered"\nwithin = "30s"\n'
CRASHES = '[[random]]\nkinds = ["crash", "pause"]\nmean_gap = "4s"\n'
LOSSES = '[[random]]\nkinds = ["loss", "slow", "delay"]\nmean_gap = "5s"\n'


def script(*parts: str, seed: int = 1) -> Script:
    return expand(parse(TOP + "".join(parts), "home", "home.toml"), seed)


def step(at: str, do: str, *keys: str) -> str:
    return f'[[timeline]]\nat = "{at}"\ndo = "{do}"\n' + "".join(f"{key}\n" for key in keys)


def what(requests: Sequence[RequestScript]) -> list[RequestScript]:
    """The requests without their numbers."""
    return [replace(request, number=0) for request in requests]


def test_a_device_has_what_its_profiles_say_where_the_file_says_nothing() -> None:
    tv = script(TV).devices[0]
    profile, link = device_profile("android_tv"), link_profile("wifi5")
    assert (tv.name, tv.mesh, tv.lan, tv.models, tv.starts_s) == ("tv", "home", "home", ("tiny",), 0.0)
    assert (tv.memory_bytes, tv.version, tv.battery_level) == (profile.usable_bytes, None, None)
    assert (tv.link.kind, tv.link.is_shared) == ("wifi5", True)
    assert (tv.link.up_rate_bps, tv.link.down_rate_bps) == (link.rate_bps, link.rate_bps)
    assert (tv.link.delay_s, tv.link.jitter_s, tv.link.up_loss) == (link.delay_s, link.jitter_s, link.loss)


def test_a_device_has_what_the_file_says() -> None:
    made = script(
        TV + 'memory = "300MB"\nlink = "ethernet"\nmodels = ["qwen3:0.6b"]\nversion = "1.1"\nstarts = "5s"\n',
        'link_overrides = { up_rate = "20 Mbit/s", delay = "3ms", down_loss = "5 %" }\n',
    )
    tv = made.devices[0]
    assert (tv.memory_bytes, tv.models, tv.version, tv.starts_s) == (
        300_000_000,
        ("qwen3:0.6b",),
        (1, 1),
        5.0,
    )
    assert (tv.link.kind, tv.link.is_shared) == ("ethernet", False)
    assert (tv.link.up_rate_bps, tv.link.down_rate_bps) == (20e6, 940e6)
    assert (tv.link.delay_s, tv.link.up_loss, tv.link.down_loss) == (0.003, 0.0, 0.05)


def test_a_count_makes_names_with_numbers_and_the_name_means_all_of_them() -> None:
    made = script(
        PHONES, step("5s", "crash", 'devices = "phone"'), step("9s", "slow", 'devices="phone-03"', "factor=2")
    )
    assert [device.name for device in made.devices][:2] == ["phone-01", "phone-02"]
    assert made.faults[0].devices == tuple(device.name for device in made.devices)
    assert made.faults[1].devices == ("phone-03",)


def test_households_are_meshes_and_lans_of_their_own_in_one_radio_space() -> None:
    made = script("households = 12\n", TV, PC + "one_in = 3\n", step("5s", "crash", 'devices = "tv"'))
    assert [device.name for device in made.devices][:5] == ["h01-tv", "h02-tv", "h03-tv", "h03-pc", "h04-tv"]
    assert len(made.devices) == 12 + 4
    assert {(device.mesh, device.lan) for device in made.devices} == {
        (f"h{n:02d}-home",) * 2 for n in range(1, 13)
    }
    assert {(lan.name, lan.radio) for lan in made.lans} == {(f"h{n:02d}-home", "home") for n in range(1, 13)}
    assert [fault.devices for fault in made.faults] == [(f"h{n:02d}-tv",) for n in range(1, 13)]


def test_a_household_can_be_named_alone() -> None:
    made = script(
        "households = 12\n",
        TV,
        step("5s", "crash", 'devices = "h07-tv"'),
        step("6s", "router_off", 'lan = "h08-home"', 'for = "2s"'),
        step("9s", "start", 'devices = "h07-tv"'),
    )
    assert [(f.kind, f.devices, f.lan, f.for_s) for f in made.faults] == [
        (FaultKind.CRASH, ("h07-tv",), None, 4.0),
        (FaultKind.ROUTER_OFF, (), "h08-home", 2.0),
    ]


def test_lans_have_the_radio_that_they_name() -> None:
    made = script('lans.home = {}\nlans.guests.radio = "home"\nlans.garden = {}\n', TV)
    assert [(lan.name, lan.radio) for lan in made.lans] == [
        ("home",) * 2,
        ("guests", "home"),
        ("garden",) * 2,
    ]


def test_links_lead_both_ways_unless_they_say_otherwise() -> None:
    made = script(TV, PC, '[[links]]\nsource = "tv"\ntarget = "pc"\nlink = "ethernet"\ndelay = "7ms"\n')
    jitter_s = link_profile("ethernet").jitter_s
    assert made.paths == (
        PathScript("tv", "pc", 940e6, 0.007, jitter_s, 0.0),
        PathScript("pc", "tv", 940e6, 0.007, jitter_s, 0.0),
    )
    one_way = '[[links]]\nsource = "tv"\ntarget = "pc"\nrate = "1 Gbit/s"\ndelay = "1ms"\nboth_ways = false\n'
    assert script(TV, PC, one_way).paths == (PathScript("tv", "pc", 1e9, 0.001),)


def test_each_kind_of_fault_takes_its_amount_in_our_units() -> None:
    made = script(
        TV,
        PC,
        step("1s", "slow", 'devices = "tv"', "factor = 50", 'for = "2s"'),
        step("2s", "heat", 'devices = "tv"', 'temperature = "95 °F"'),
        step("3s", "loss", 'devices = "tv"', 'toward = "pc"', 'share = "8 %"', "both_ways = false"),
        step("4s", "fade", 'devices = "tv"', "quality = 0.2", 'over = "3s"'),
        step("5s", "crash", 'devices = "pc"', "keeps_disk = false", 'for = "90s"'),
        step("6s", "router_off"),
    )
    assert made.faults == (
        Fault(1.0, FaultKind.SLOW, ("tv",), amount=50.0, for_s=2.0),
        Fault(2.0, FaultKind.HEAT, ("tv",), amount=35.0),
        Fault(3.0, FaultKind.LOSS, ("tv",), ("pc",), both_ways=False, amount=0.08),
        Fault(4.0, FaultKind.FADE, ("tv",), amount=0.2, over_s=3.0),
        Fault(5.0, FaultKind.CRASH, ("pc",), for_s=90.0, keeps_disk=False),
        Fault(6.0, FaultKind.ROUTER_OFF, lan="home"),
    )


def test_a_later_step_gives_a_fault_its_end_and_may_end_a_part_of_it() -> None:
    made = script(
        TV,
        PC,
        step("9s", "wake", 'devices = "tv"'),
        step("5s", "pause", 'devices = ["tv", "pc"]'),
        step("12s", "crash", 'devices = "tv"'),
        step("20s", "wake"),
        step("30s", "start", 'devices = "tv"'),
    )
    assert made.faults == (
        Fault(5.0, FaultKind.PAUSE, ("tv",), for_s=4.0),
        Fault(5.0, FaultKind.PAUSE, ("pc",), for_s=15.0),
        Fault(12.0, FaultKind.CRASH, ("tv",), for_s=18.0),
    )


def test_a_fault_that_outlasts_the_healing_ends_with_it() -> None:
    made = script('heal = "40s"\n', TV, step("30s", "pause", 'devices = "tv"', 'for = "20s"'))
    assert (made.healed_s, made.faults[0].for_s) == (40.0, None)


def test_the_healing_leaves_room_for_the_longest_promise() -> None:
    made = script(TV, PROMISE, '[[eventually]]\npromise = "converged"\nwithin = "15s"\n')
    assert made.healed_s == 100 - 30 - 1
    assert made.eventually == (Promise("answered", 30.0), Promise("converged", 15.0))
    assert script(TV).healed_s == 100


def test_who_promises_answers_asks_each_mesh_once_more_when_it_has_come_together() -> None:
    converged = '[[eventually]]\npromise = "converged"\nwithin = "15s"\n'
    made = script(TV, PC, 'mesh = "study"\n', PROMISE, converged)
    assert sorted(request.device for request in made.requests) == ["pc", "tv"]
    assert all(request.asks_again and 69 + 15 <= request.at_s < 69 + 30 for request in made.requests)
    assert script(TV).requests == ()


def test_requests_come_when_they_are_said_to() -> None:
    once = script(TV, '[[workload]]\nat = "5s"\ncount = 2\nprompt = "Hello"\nmax_tokens = 3\n').requests
    assert [(r.number, r.at_s, r.device, r.prompt, r.max_tokens) for r in once] == [
        (1, 5.0, "tv", "Hello", 3),
        (2, 5.0, "tv", "Hello", 3),
    ]
    often = script(TV, '[[workload]]\nevery = "20s"\nstart = "5s"\nuntil = "60s"\n').requests
    assert [request.at_s for request in often] == [5.0, 25.0, 45.0]
    few = script(TV, '[[workload]]\nevery = "1s"\ncount = 4\n').requests
    assert [request.at_s for request in few] == [0.0, 1.0, 2.0, 3.0]


def test_random_arrivals_have_the_rate_that_is_asked_for() -> None:
    requests = script(PHONES, '[[workload]]\nper_minute = 600\nstart = "10s"\nuntil = "90s"\n').requests
    assert 720 < len(requests) < 880  # 800 are expected, and their standard deviation is 28
    assert all(10 <= request.at_s < 90 for request in requests)
    assert len({request.device for request in requests}) == 12


def test_prompts_have_the_length_that_is_asked_for() -> None:
    made = script(TV, '[[workload]]\nevery = "1s"\nprompt_tokens = [50, 900]\n')
    lengths = [len(request.prompt.encode()) for request in made.requests]
    assert min(lengths) >= 50
    assert max(lengths) <= 900
    assert len(set(lengths)) > 50
    assert (
        len(script(TV, '[[workload]]\nat = "1s"\nprompt_tokens = 777\n').requests[0].prompt.encode()) == 777
    )


def test_who_is_off_is_not_asked_where_another_could_be() -> None:
    pause = step("0s", "pause", 'devices = "phone-01"')
    devices = [
        r.device
        for r in script(PHONES, 'starts = "1ms"\n', '[[workload]]\nevery="1s"\nstart="1s"\n').requests
    ]
    assert "phone-01" in devices
    crash = step("1s", "crash", 'devices = "phone-01"')
    without = script(PHONES, crash, '[[workload]]\nevery = "1s"\nstart = "1s"\n').requests
    assert len(without) == 99
    assert "phone-01" not in {request.device for request in without}
    assert "phone-01" in {r.device for r in script(PHONES, pause, step("2s", "wake"), POISSON).requests}


def test_budgets_and_waits_are_taken_over() -> None:
    made = script(TV, '[budgets]\nenergy_j = "1 Wh"\nnum_failed = 0\n[timing]\nload = "9s"\n', "")
    assert made.budgets == (Budget("num_failed", 0.0), Budget("energy_j", 3600.0))
    assert made.timing == replace(Timing(), load_s=9.0)


def test_the_same_seed_gives_the_same_script_and_another_seed_another() -> None:
    parts = (TV, PHONES, 'starts = ["0s", "3s"]\n', POISSON, PROMISE, CRASHES, LOSSES)
    assert script(*parts) == script(*parts)
    assert script(*parts).faults != script(*parts, seed=2).faults
    assert script(*parts).requests != script(*parts, seed=2).requests
    assert script(*parts).devices != script(*parts, seed=2).devices


def test_leaving_out_one_item_does_not_shuffle_the_others() -> None:
    other = '[[workload]]\nfrom = "tv"\nper_minute = 20\n'
    whole = script(TV, PHONES, other, POISSON, PROMISE, LOSSES, CRASHES)
    kinds = (FaultKind.CRASH, FaultKind.PAUSE)
    crashes = [fault for fault in whole.faults if fault.kind in kinds]
    by_phones = [r for r in whole.requests if r.device.startswith("phone") and not r.asks_again]

    without_losses = script(TV, PHONES, other, POISSON, PROMISE, CRASHES)
    assert list(without_losses.faults) == crashes
    assert without_losses.requests == whole.requests
    without_work = script(TV, PHONES, POISSON, PROMISE, LOSSES, CRASHES)
    assert [r for r in what(without_work.requests) if not r.asks_again] == what(by_phones)
    assert without_work.faults == whole.faults


def test_leaving_out_a_device_moves_only_what_befell_it() -> None:
    whole, without_tv = (
        script(TV, PHONES, PROMISE, CRASHES, POISSON),
        script(PHONES, PROMISE, CRASHES, POISSON),
    )
    assert len(whole.faults) == len(without_tv.faults)
    kept = [fault for fault in whole.faults if fault in without_tv.faults]
    of_tv = [fault for fault in whole.faults if fault.devices == ("tv",)]
    assert of_tv
    assert len(kept) >= len(whole.faults) - 2 * len(of_tv)
    assert [r.at_s for r in whole.requests[:-1]] == [r.at_s for r in without_tv.requests[:-1]]


def test_leaving_out_a_household_does_not_shuffle_the_others() -> None:
    many, fewer = (script(f"households = {n}\n", TV, PC, PROMISE, CRASHES) for n in (12, 11))
    assert [f for f in many.faults if not f.devices[0].startswith("h12")] == list(fewer.faults)


@pytest.mark.parametrize("seed", range(5))
def test_random_faults_end_before_the_healing_and_never_stop_everybody(seed: int) -> None:
    made = script(TV, PC, PROMISE, CRASHES, 'for = ["5s", "30s"]\n', seed=seed)
    assert made.faults
    for fault in made.faults:
        assert fault.for_s is not None
        assert fault.at_s + fault.for_s <= made.healed_s + 1e-9
        meanwhile = [
            f
            for f in made.faults
            if f.at_s <= fault.at_s <= f.at_s + (f.for_s or 0) and f.devices != fault.devices
        ]
        assert not meanwhile


@pytest.mark.parametrize("seed", range(5))
def test_random_faults_give_way_to_the_timeline(seed: int) -> None:
    off = step("30s", "power_off", 'devices = "tv"', 'for = "5s"')
    made = script(
        TV, PHONES, off, PROMISE, CRASHES.replace("4s", "1s"), 'for = "9s"\ndevices = "tv"\n', seed=seed
    )
    drawn = [fault for fault in made.faults if fault.kind is not FaultKind.POWER_OFF]
    assert drawn
    assert all(fault.at_s + (fault.for_s or 0) < 30 or fault.at_s > 35 for fault in drawn)


def test_all_may_be_stopped_where_that_is_allowed() -> None:
    alone = script(TV, PROMISE, CRASHES)
    assert not alone.faults
    assert script(TV, PROMISE, CRASHES, "may_stop_all = true\n").faults


def test_random_faults_keep_to_whom_and_when_they_may_befall() -> None:
    made = script(
        PHONES,
        TV,
        PROMISE,
        CRASHES,
        'devices = ["phone", "tv"]\nspares = "phone-01"\nstart = "10s"\nuntil = "20s"\n',
    )
    assert made.faults
    assert all(10 <= fault.at_s < 20 and fault.devices != ("phone-01",) for fault in made.faults)


def test_random_amounts_keep_to_their_bounds() -> None:
    made = script(PHONES, PROMISE, LOSSES.replace("5s", "1s"), 'share = ["1 %", "3 %"]\nfactor = 7\n')
    shares = [fault.amount for fault in made.faults if fault.kind is FaultKind.LOSS]
    assert shares
    assert all(0.01 <= share <= 0.03 for share in shares)
    assert {fault.amount for fault in made.faults if fault.kind is FaultKind.SLOW} == {7.0}
    assert all(0.01 <= fault.amount <= 0.5 for fault in made.faults if fault.kind is FaultKind.DELAY)
    assert {fault.both_ways for fault in made.faults if fault.kind is FaultKind.LOSS} == {True, False}


def test_only_what_has_a_battery_is_unplugged() -> None:
    made = script(
        TV, PHONES, PROMISE, '[[random]]\nkinds = ["unplug"]\nmean_gap = "2s"\nmay_stop_all = true\n'
    )
    assert made.faults
    assert all(fault.devices[0].startswith("phone") for fault in made.faults)


def test_a_step_stay_ends_departing_and_draining() -> None:
    steps = "".join(
        f'[[timeline]]\nat = "{at}s"\ndo = "{do}"\ndevices = "tv"\n'
        for at, do in ((2, "depart"), (3, "drain"), (5, "stay"))
    )
    made = script(TV, PHONES, steps)
    found = [(fault.kind, fault.at_s, fault.for_s) for fault in made.faults]
    assert found == [(FaultKind.DEPART, 2.0, 3.0), (FaultKind.DRAIN, 3.0, 2.0)]


def test_a_step_unmetered_ends_metered() -> None:
    steps = "".join(
        f'[[timeline]]\nat = "{at}s"\ndo = "{do}"\ndevices = "tv"\n'
        for at, do in ((2, "metered"), (3, "depart"), (5, "unmetered"))
    )
    found = [(fault.kind, fault.at_s, fault.for_s) for fault in script(TV, PHONES, steps).faults]
    assert found == [(FaultKind.METERED, 2.0, 3.0), (FaultKind.DEPART, 3.0, None)]


def test_an_unplugged_battery_has_the_level_that_is_given_or_as_it_was() -> None:
    step = '[[timeline]]\nat = "2s"\ndo = "unplug"\ndevices = "phone-01"\n'
    assert [fault.amount for fault in script(TV, PHONES, step).faults] == [0.0]
    assert [fault.amount for fault in script(TV, PHONES, step + 'level = "16 %"\n').faults] == [0.16]
