"""Scenarios are read, and whatever is wrong with one is told in one line, with its place and a way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesh.errors import BadSetting
from simulator.scenario import Scenario, load, parse
from simulator.scenario.spreads import Counts, Durations

TOP = 'summary = "s"\nduration = "60s"\n'  # two lines
DEVICES = (
    '[[devices]]\nname = "tv"\nprofile = "android_tv"\n[[devices]]\nname = "pc"\nprofile = "pc_rtx_4090"\n'
)
BASE = TOP + DEVICES  # eight lines


def read(text: str) -> Scenario:
    return parse(text, "party", "party.toml")


def test_a_scenario_is_read_with_its_units() -> None:
    scenario = read(
        BASE
        + 'memory = "300MB"\nstarts = ["1s", "2s"]\n'
        + 'link_overrides = { up_rate = "20 Mbit/s", up_loss = "5 %" }\n'
        + '[[workload]]\nfrom = ["tv", "pc"]\nat = "500ms"\nmax_tokens = [2, 4]\nprompt_tokens = 7\n'
        + "[budgets]\nttft_max_s = '3s'\nnum_failed = 0\n"
        + "[timing]\nstall = '10s'\n[lans.home]\nradio = 'air'\n"
    )
    pc, work = scenario.devices[1], scenario.workload[0]
    assert scenario.name == "party"
    assert (pc.memory, pc.starts) == (300e6, Durations(1.0, 2.0))
    assert pc.link_overrides is not None
    assert (pc.link_overrides.up_rate, pc.link_overrides.up_loss) == (20e6, 0.05)
    assert (work.asker, work.at, work.max_tokens, work.prompt_tokens) == (
        ("tv", "pc"),
        0.5,
        Counts(2, 4),
        Counts(7, 7),
    )
    assert (scenario.budgets.ttft_max_s, scenario.budgets.num_failed) == (3.0, 0)
    assert scenario.timing.stall == 10.0
    assert scenario.lans["home"].radio == "air"
    assert [name.value for name in scenario.always] == [
        "exact_tokens",
        "one_end",
        "memory_within_budget",
        "no_role_failed",
        "freed_in_time",
    ]


STEP = '[[timeline]]\nat = "5s"\n'
WORK = "[[workload]]\n"
CHANCE = '[[eventually]]\npromise = "answered"\nwithin = "20s"\n[[random]]\n'  # four lines

WRONG = {
    "unknown key": (BASE + 'memroy = "1GB"\n', "9: devices.memroy: unknown key; did you mean 'memory'?"),
    "unknown key at the top": ('sumary = "x"\n' + BASE, "1: sumary: unknown key; did you mean 'summary'?"),
    "unknown key in an inline table": (
        BASE + 'link_overrides = { up_rate = "1 Mbit/s", dealy = "5ms" }\n',
        "9: devices.link_overrides.dealy: unknown key; did you mean 'delay'?",
    ),
    "unknown key of a LAN": (
        BASE + "[lans.home]\nradio = 'a'\n[lans.guests]\nrdio = 'b'\n",
        "12: lans.guests.rdio: unknown key; did you mean 'radio'?",
    ),
    "a key with a line break in it": (BASE + '"a\\nb" = 1\n', "9: devices.a b: unknown key; known are name"),
    "missing key": (TOP + "[[devices]]\nname = 'tv'\n", "3: devices: the key 'profile' is missing"),
    "a summary of two lines": (BASE.replace('"s"', '"s\\nt"'), "1: summary: a summary is one line"),
    "no devices": (TOP, "1: the key 'devices' is missing"),
    "wrong type": (BASE + "count = 'two'\n", "9: devices.count: expected a whole number, got a text"),
    "a true number": (
        BASE + "count = true\n",
        "9: devices.count: expected a whole number, got true or false",
    ),
    "too small": (BASE + "count = 0\n", "9: devices.count: expected a whole number >= 1"),
    "no unit": (
        BASE + "memory = 5\n",
        "9: devices.memory: '5' has no unit; write for instance 300MB or 1.9GiB",
    ),
    "wrong unit": (
        BASE + "memory = '5 mb'\n",
        "9: devices.memory: '5 mb' has the unit 'mb'; a size has one of B",
    ),
    "a range of three": (
        BASE + "starts = ['1s', '2s', '3s']\n",
        "9: devices.starts: a list of 3 is no range; write one value, or two: [least, most]",
    ),
    "a range that falls": (
        BASE + "starts = ['2s', '1s']\n",
        "9: devices.starts: the range ends below its start",
    ),
    "a name in the file": (
        "name = 'x'\n" + BASE,
        "1: name: a scenario is named by its file; leave 'name' out",
    ),
    "a name that is none": (BASE.replace('"pc"', '"my pc"'), "7: devices.name: 'my pc' is no name"),
    "the name any": (BASE.replace('"pc"', '"any"'), "7: devices.name: 'any' means all devices"),
    "two of one name": (BASE.replace('"pc"', '"tv"'), "7: devices.name: two devices are called 'tv'"),
    "a name that a count makes": (
        BASE.replace('"pc"', '"tv-2"').replace('"tv"\n', '"tv"\ncount = 3\n', 1),
        "8: devices.name: two devices are called 'tv-2'",
    ),
    "unknown profile": (
        BASE.replace("pc_rtx_4090", "pc_rtx_4080"),
        "8: devices.profile: no device profile is called 'pc_rtx_4080'; did you mean 'pc_rtx_4090'?",
    ),
    "unknown link": (BASE + "link = 'wifi9'\n", "9: devices.link: no link profile is called 'wifi9'"),
    "a link for control only": (
        BASE + "link = 'thread'\n",
        "9: devices.link: thread carries no model; choose another link, or write models = []",
    ),
    "unknown model": (
        "models = ['tiny', 'smollm:135m']\n" + BASE,
        "1: models: no model is called 'smollm:135m'; did you mean 'smollm2:135m'?",
    ),
    "unknown LAN": (BASE + "lan = 'hoem'\n", "9: devices.lan: no LAN is called 'hoem'; did you mean 'home'?"),
    "too much memory": (
        BASE + "memory = '64GB'\n",
        "9: devices.memory: 64 GB are more than the 25.8 GB that are installed in pc_rtx_4090",
    ),
    "no memory": (BASE + "memory = '0B'\n", "9: devices.memory: a device that lends nothing is none"),
    "a battery that is none": (BASE + "battery = 0.5\n", "9: devices.battery: pc_rtx_4090 has no battery"),
    "a share above 1": (BASE + "battery = '120 %'\n", "9: devices.battery: '120 %' cannot be a share"),
    "loss above 1": (
        BASE + "link_overrides.up_loss = 1.2\n",
        "9: devices.link_overrides.up_loss: '1.2' cannot be a share; it must be from 0 to 1",
    ),
    "a link of rate 0": (
        BASE + "link_overrides.up_rate = '0 Mbit/s'\n",
        "9: devices.link_overrides.up_rate: a link of rate 0 carries nothing",
    ),
    "a version that is none": (BASE + "version = 'new'\n", "9: devices.version: 'new' is no version"),
    "a start after the end": (
        BASE + "starts = '70s'\n",
        "9: devices.starts: it must start before everything",
    ),
    "one in more than all": (BASE + "one_in = 3\n", "9: devices.one_in: one household in 3 is none of 1"),
    "too many devices": (
        "households = 9999\n" + BASE + "count = 9\n",
        "4: devices: these are 99990 devices in all",
    ),
    "no time at all": (BASE.replace("60s", "0s"), "2: duration: a run of 0 s shows nothing"),
    "a link to itself": (
        BASE + "[[links]]\nsource = 'tv'\ntarget = 'tv'\nlink = 'ethernet'\n",
        "11: links.target: a link between 'tv' and itself is none",
    ),
    "a link twice": (
        BASE + "[[links]]\nsource='tv'\ntarget='pc'\nlink='ethernet'\n" * 2,
        "13: links: there is a link from 'tv' to 'pc' already",
    ),
    "a link to nobody": (
        BASE + "[[links]]\nsource = 'tv'\ntarget = 'pcc'\nlink = 'ethernet'\n",
        "11: links.target: no device is called 'pcc'; did you mean 'pc'?",
    ),
    "a link without figures": (
        BASE + "[[links]]\nsource = 'tv'\ntarget = 'pc'\nrate = '1 Gbit/s'\n",
        "9: links: a link needs 'delay'",
    ),
    "no time of asking": (BASE + WORK, "9: workload: say once when: at, every or per_minute; this has none"),
    "two times of asking": (
        BASE + WORK + "at = '1s'\nevery = '2s'\n",
        "9: workload: say once when: at, every or per_minute; this has at and every",
    ),
    "asking after the end": (BASE + WORK + "at = '60s'\n", "10: workload.at: 60 s is not before the end"),
    "asking never": (
        BASE + WORK + "every = '1s'\nstart = '9s'\nuntil = '8s'\n",
        "11: workload.start: it starts at 9 s but ends at 8 s",
    ),
    "asking nobody": (
        BASE + WORK + "at = '1s'\nfrom = 'tvv'\n",
        "11: workload.from: no device is called 'tvv'; did you mean 'tv'?",
    ),
    "asking without a model": (
        BASE + "models = []\n" + WORK + "at = '1s'\nfrom = 'pc'\n",
        "12: workload.from: no device that is asked has the model 'tiny' on its disk",
    ),
    "asking who is not there yet": (
        BASE + "starts = '30s'\n" + WORK + "at = '1s'\nfrom = 'pc'\n",
        "10: workload: nobody can be asked: the first of the devices that are meant starts as late as 30 s",
    ),
    "asking all the time": (BASE + WORK + "every = '0s'\n", "10: workload.every: a gap of 0 s never ends"),
    "asking too often": (BASE + WORK + "every = '1us'\n", "9: workload: these are more than 100000 requests"),
    "two ways to say it": (
        BASE + WORK + "at = '1s'\nprompt = 'Hi'\nprompt_tokens = 5\n",
        "9: workload: say once what is asked, not by prompt and prompt_tokens",
    ),
    "unknown deed": (
        BASE + STEP + "do = 'crsh'\n",
        "11: timeline.do: nothing is called 'crsh'; did you mean 'crash'?",
    ),
    "no battery to run on": (
        BASE + STEP + "do = 'unplug'\ndevices = 'tv'\n",
        "12: timeline.devices: tv has no battery, so it cannot be unplugged",
    ),
    "an empty battery": (
        BASE + STEP + "do = 'unplug'\ndevices = 'pc'\nlevel = '0 %'\n",
        "13: timeline.level: a battery of 0 % cannot run anything; write for instance 16 %",
    ),
    "staying where nobody leaves": (
        BASE + STEP + "do = 'stay'\ndevices = 'pc'\n",
        "9: timeline: stay at 5 s ends nothing for 'pc': no depart or drain is open by then",
    ),
    "nothing before the healing": (
        TOP + "heal = '0s'\n" + DEVICES + '[[eventually]]\npromise = "answered"\nwithin = "8s"\n',
        "3: heal: everything is healed at 0 s, so nothing can happen; heal later",
    ),
    "a fault of nobody": (BASE + STEP + "do = 'crash'\n", "9: timeline: crash needs devices"),
    "a fault of an unknown device": (
        BASE + STEP + "do = 'crash'\ndevices = ['pc', 'phone']\n",
        "12: timeline.devices: no device is called 'phone'; known are tv, pc, any",
    ),
    "a fault without its amount": (
        BASE + STEP + "do = 'slow'\ndevices = 'pc'\n",
        "9: timeline: slow needs 'factor': how much?",
    ),
    "a fault with another's amount": (
        BASE + STEP + "do = 'slow'\ndevices = 'pc'\nshare = 0.5\n",
        "13: timeline.share: slow takes no 'share', only at, devices, do, factor, for",
    ),
    "a fault after the end": (
        BASE + STEP.replace("5s", "99s") + "do = 'crash'\ndevices = 'pc'\n",
        "10: timeline.at: 99 s is not before the end at 60 s",
    ),
    "a fault after the healing": (
        "heal = '4s'\n" + BASE + STEP + "do = 'crash'\ndevices = 'pc'\n",
        "11: timeline.at: 5 s is not before everything is healed at 4 s",
    ),
    "a fault of no time": (
        BASE + STEP + "do = 'pause'\ndevices = 'pc'\nfor = '0s'\n",
        "13: timeline.for: a duration of 0 is none",
    ),
    "a start of what never stops": (
        BASE + STEP + "do = 'start'\ndevices = 'pc'\n",
        "9: timeline: start at 5 s ends nothing for 'pc': no crash or leave or power_off is open by then",
    ),
    "an end before its beginning": (
        BASE + STEP + "do = 'wake'\ndevices = 'pc'\n" + "[[timeline]]\nat='6s'\ndo='pause'\ndevices='pc'\n",
        "9: timeline: wake at 5 s ends nothing for 'pc': no pause is open by then",
    ),
    "a crash of what is off": (
        BASE + STEP + "do='power_off'\ndevices='pc'\n" + "[[timeline]]\nat='6s'\ndo='crash'\ndevices='any'\n",
        "13: timeline: 'pc' does not run at 6 s, because of power_off at 5 s",
    ),
    "a crash of what has not started": (
        BASE + "starts = '9s'\n" + STEP + "do = 'crash'\ndevices = 'pc'\n",
        "10: timeline: 'pc' may start as late as 9 s, after 5 s",
    ),
    "a path to oneself": (
        BASE + STEP + "do = 'partition'\ndevices = ['tv', 'pc']\ntoward = 'tv'\n",
        "13: timeline.toward: 'tv' stands on both sides of the path",
    ),
    "a router of no LAN": (
        BASE + STEP + "do = 'router_off'\nlan = 'garden'\n",
        "12: timeline.lan: no LAN is called 'garden'; known are home",
    ),
    "random without a promise": (
        BASE + "[[random]]\nkinds = ['crash']\nmean_gap = '5s'\n",
        "9: random: random faults ask for progress afterwards: add [[eventually]]",
    ),
    "an unknown kind": (
        BASE + CHANCE + "mean_gap = '5s'\nkinds = ['pause',\n 'crassh']\n",
        "15: random.kinds: nothing is called 'crassh'; did you mean 'crash'?",
    ),
    "start as a fault": (
        BASE + CHANCE + "mean_gap = '5s'\nkinds = ['start']\n",
        "14: random.kinds: start undoes a fault",
    ),
    "an amount that no kind takes": (
        BASE + CHANCE + "mean_gap = '5s'\nkinds = ['crash']\nshare = 0.5\n",
        "15: random.share: 'share' belongs to loss, drop, corrupt, which are not among the kinds",
    ),
    "everybody spared": (
        BASE + CHANCE + "mean_gap = '5s'\nkinds = ['crash']\nspares = 'any'\n",
        "15: random.spares: every device is spared",
    ),
    "too many faults": (
        BASE + CHANCE + "mean_gap='1us'\nkinds=['crash']\n",
        "12: random: these are more than",
    ),
    "faults after the healing": (
        BASE + CHANCE + "mean_gap = '5s'\nkinds = ['crash']\nuntil = '50s'\n",
        "15: random.until: 50 s is after everything is healed at 39 s",
    ),
    "a promise that does not fit": (
        "heal = '50s'\n" + BASE + "[[eventually]]\npromise = 'answered'\nwithin = '20s'\n",
        "12: eventually.within: 20 s do not fit behind the healing: healing at 50 s leaves 10 s",
    ),
    "a promise longer than the run": (
        BASE + "[[eventually]]\npromise = 'converged'\nwithin = '60s'\n",
        "11: eventually.within: 60 s do not fit behind the healing: the run lasts 60 s",
    ),
    "a promise twice": (
        BASE + "[[eventually]]\npromise = 'converged'\nwithin = '6s'\n" * 2,
        "12: eventually: 'converged' is promised twice",
    ),
    "an answer before there can be one": (
        BASE + "[[eventually]]\npromise='converged'\nwithin='9s'\n"
        "[[eventually]]\npromise='answered'\nwithin='9s'\n",
        "14: eventually.within: 9 s are too few: each mesh is asked once more 9 s after the healing",
    ),
    "an unknown promise": (
        BASE + "[[eventually]]\npromise = 'answerd'\nwithin = '6s'\n",
        "10: eventually.promise: nothing is called 'answerd'; did you mean 'answered'?",
    ),
    "an unknown invariant": (
        "always = ['one_ends']\n" + BASE,
        "1: always: nothing is called 'one_ends'; did you mean 'one_end'?",
    ),
    "a healing after the end": (
        "heal = '70s'\n" + BASE,
        "1: heal: the healing at 70 s is after the end at 60 s",
    ),
    "an unknown figure": (
        BASE + "[budgets]\nttft_max = '3s'\n",
        "10: budgets.ttft_max: unknown key; did you mean 'ttft_max_s'?",
    ),
    "waits in the wrong order": (
        BASE + "[timing]\nlost_after = '1s'\n",
        "9: timing: heartbeat_interval, suspect_after and lost_after must grow in this order",
    ),
    "no TOML": (BASE + "count = \n", "9: not TOML: Invalid value"),
    "no end of a string": (BASE + 'x = """\n\nabc', "11: not TOML: "),
    "a key twice": (BASE + "name = 'x'\n", "9: not TOML: Cannot overwrite a value"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_line_and_a_way_out(name: str) -> None:
    text, expected = WRONG[name]
    with pytest.raises(BadSetting) as caught:
        read(text)
    said = str(caught.value)
    assert said.startswith(f"party.toml:{expected}")
    assert "\n" not in said


def test_lines_are_right_in_files_with_other_line_ends() -> None:
    with pytest.raises(BadSetting, match=r"^party.toml:9: devices.memroy"):
        read((BASE + 'memroy = "1GB"\n').replace("\n", "\r\n"))


def test_a_file_is_read_and_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my_home.toml"
    path.write_text(BASE)
    assert load(path).name == load(str(path)).name == "my_home"
    path.write_text(BASE + "x = 1")
    with pytest.raises(BadSetting, match=r"my_home\.toml:9: devices\.x: unknown key"):
        load(path)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"none\.toml cannot be read: No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(BadSetting, match="is a folder; name the scenario's file in it"):
        load(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'summary = "x"\n# caf\xe9\n')
    with pytest.raises(BadSetting, match=r"latin\.toml:2: the file is not UTF-8"):
        load(latin)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(BadSetting, match="has over 4 MiB and is no scenario"):
        load(large)
    with pytest.raises(BadSetting, match="cannot be read"):
        load("a\0b.toml")
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 9_000 + "]" * 9_000)
    with pytest.raises(BadSetting, match=r"deep\.toml:1: "):
        load(deep)


def test_an_unknown_scenario_is_told_with_the_nearest() -> None:
    with pytest.raises(BadSetting, match="no scenario is called 'evening_hom'; did you mean 'evening_home'"):
        load("evening_hom")
    with pytest.raises(BadSetting, match="no scenario is called 'zzz'; known are"):
        load("zzz")


def test_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "party.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(path).name == "party"


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "party.toml"
    os.mkfifo(path)
    with pytest.raises(BadSetting, match="is no regular file"):
        load(path)
