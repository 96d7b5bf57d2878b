"""The shaper's arithmetic is that of the virtual network: delay, rate, sharing, what faults make of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mesh.errors import BadSetting
from simulator.profiles import device_profile
from simulator.real.host_costs import HostCosts, with_host_costs
from simulator.real.paths import Medium, Path, Use, paths_of
from simulator.real.weather import check_possible, pairs_of, weather
from simulator.script import DeviceScript, Fault, FaultKind, LanScript, LinkScript, PathScript, Script

CABLE = LinkScript("ethernet", False, 100e6, 50e6, 0.001)
WIFI = LinkScript("wifi5", True, 100e6, 100e6, 0.002)


def device(name: str, link: LinkScript, lan: str = "home") -> DeviceScript:
    return DeviceScript(name, "pc_rtx_4090", "home", lan, link, 10**9, ("tiny",))


def script(
    *devices: DeviceScript, faults: tuple[Fault, ...] = (), paths: tuple[PathScript, ...] = ()
) -> Script:
    lans = tuple(LanScript(lan, "air") for lan in dict.fromkeys(device.lan for device in devices))
    return Script("test", 1, 10.0, 10.0, lans, devices, (), faults, paths)


def path(delay_s: float = 0.0, jitter_s: float = 0.0, *uses: Use) -> Path:
    return Path("a", "b", uses, delay_s, jitter_s, random.Random(1))


def overhead_s() -> float:
    return 2 * device_profile("pc_rtx_4090").message_overhead_s


def test_b_bytes_over_delay_d_and_rate_r_arrive_at_d_plus_b_by_r() -> None:
    one = path(0.005, 0.0, Use(Medium(), 8 / 8e6))
    assert one.arrival_s(1000, 10.0) == pytest.approx(10.0 + 0.005 + 0.001)
    assert one.arrival_s(1000, 10.0) == pytest.approx(10.0 + 0.005 + 0.002)


def test_a_way_over_the_access_point_is_as_fast_as_its_slower_half() -> None:
    found = paths_of(script(device("a", CABLE), device("b", CABLE)), device_profile)["a", "b"]
    assert found.arrival_s(50_000, 0.0) == pytest.approx(0.002 + overhead_s() + 400_000 / 50e6)


def test_stations_of_one_radio_share_its_air() -> None:
    paths = paths_of(script(device("a", WIFI), device("b", WIFI), device("c", WIFI)), device_profile)
    alone_s = paths["a", "b"].arrival_s(100_000, 0.0) - paths["a", "b"].delay_s
    assert alone_s == pytest.approx(2 * 800_000 / 100e6)
    assert paths["c", "b"].arrival_s(100_000, 0.0) - paths["c", "b"].delay_s == pytest.approx(2 * alone_s)


def test_a_direct_path_takes_the_place_of_the_way_over_the_access_point() -> None:
    direct = PathScript("a", "b", 8e6, 0.1)
    paths = paths_of(script(device("a", CABLE), device("b", CABLE), paths=(direct,)), device_profile)
    assert paths["a", "b"].delay_s == pytest.approx(0.1 + overhead_s())
    assert paths["b", "a"].delay_s == pytest.approx(0.002 + overhead_s())


def test_no_path_leads_from_one_local_network_to_another() -> None:
    paths = paths_of(script(device("a", CABLE), device("b", CABLE, lan="next door")), device_profile)
    assert sorted(paths) == [("a", "a"), ("b", "b")]


def test_jitter_has_its_mean() -> None:
    one = path(0.0, 0.003)
    mean_s = sum(one.arrival_s(1, 0.0) for _ in range(2000)) / 2000
    assert 0.0025 < mean_s < 0.0035


def test_faults_that_overlap_are_added_up_and_end_each_for_itself() -> None:
    late = Fault(0.0, FaultKind.DELAY, ("a",), amount=0.2)
    slow = Fault(0.0, FaultKind.SLOW_LINK, ("b",), amount=4.0)
    cut = Fault(0.0, FaultKind.PARTITION, ("a",), toward=("b",), both_ways=False)
    home = script(device("a", CABLE), device("b", CABLE))
    both = weather(("a", "b"), (late, slow, cut), home)
    assert (both.is_blocked, both.extra_delay_s, both.slowness) == (True, 0.2, 4.0)
    assert weather(("a", "b"), (slow, slow), home).slowness == 16.0
    assert not weather(("b", "a"), (late, slow, cut), home).is_blocked
    assert weather(("a", "b"), (slow,), home).extra_delay_s == 0


def test_a_router_that_is_off_parts_the_devices_of_its_network_alone() -> None:
    home = script(device("a", CABLE), device("b", CABLE), device("c", CABLE, lan="next door"))
    off = Fault(0.0, FaultKind.ROUTER_OFF, lan="home")
    assert pairs_of(off, home) == {("a", "b"), ("b", "a")}


def test_what_processes_cannot_act_out_is_one_clear_line() -> None:
    corrupt = Fault(0.0, FaultKind.CORRUPT, ("a",), amount=0.1)
    with pytest.raises(BadSetting, match=r"^test has the fault 'corrupt', .* run it in virtual time$"):
        check_possible(script(device("a", CABLE), faults=(corrupt,)))


def test_costs_of_this_machine_are_added_to_every_way() -> None:
    direct = PathScript("a", "b", 8e6, 0.1)
    plain = script(device("a", CABLE), device("b", CABLE), paths=(direct,))
    costs = HostCosts(message_s=0.0006, byte_s=1e-6, frame_s=0.0)
    costly = paths_of(with_host_costs(plain, costs), device_profile)
    assert costly["a", "b"].delay_s == pytest.approx(0.1006 + overhead_s())
    assert costly["a", "b"].arrival_s(1000, 0.0) == pytest.approx(0.1006 + overhead_s() + 0.002)
    assert costly["b", "a"].delay_s == pytest.approx(0.0026 + overhead_s())
    assert replace(with_host_costs(plain, HostCosts(0.0, 0.0, 0.0)), paths=plain.paths) == plain
