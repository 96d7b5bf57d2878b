"""The page is whole by itself, shows what it should, escapes what it must and stays small."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest

from simulator.report.choice import MOST_DEVICES, MOST_OF_A_KIND
from simulator.report.html import to_html, write_html
from simulator.report.topology import CARD_HEIGHT, CARD_WIDTH, topology
from simulator.result import RunResult, Verdict
from simulator.script import PathScript
from simulator.trace import Event, Kind
from tests.simulator.report.results import TRACEBACK, block, broken_household, household, unmet_household

VOID = {"meta", "input", "link", "br", "hr", "img"}


class Reader(HTMLParser):
    """Reads a page strictly: elements must close in order; keeps attributes, texts and ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(text)

    @property
    def visible(self) -> str:
        return " ".join(
            " ".join(texts) for tag, texts in self.texts.items() if tag not in ("script", "style")
        )


def data_of(page: str) -> dict[str, list[list[object]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    values: dict[str, list[list[object]]] = json.loads(found[1])
    return values


@pytest.mark.parametrize(
    "result", [household(), broken_household(), unmet_household(), block(7, num_requests=6)]
)
def test_the_page_is_well_formed_and_refers_to_nothing_outside(result: RunResult) -> None:
    page = to_html(result)
    reader = Reader(page)
    assert len(reader.ids) == len(set(reader.ids))
    for tag, name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith("#"), (tag, name, value)
            assert value[1:] in reader.ids
    for outside in ("url(", "@import", "://", "fetch(", "XMLHttpRequest", "import("):
        assert outside not in page


def test_the_header_says_scenario_seed_verdict_digest_and_command() -> None:
    result = household()
    seen = Reader(to_html(result)).visible
    for said in ("evening_home", "Everything held", result.digest, "mesh-sim run evening_home --seed 7"):
        assert said in seen
    assert "10.000 s" in seen


def test_a_broken_run_opens_with_its_complaints_and_the_traceback() -> None:
    page = to_html(broken_household())
    seen = Reader(page).visible
    assert TRACEBACK.splitlines()[-1] in seen
    assert "tv crashes." in seen
    assert page.index('id="complaints"') < page.index('id="topology"')
    assert 'id="complaints"' not in to_html(household())


def test_a_promise_not_kept_is_said_in_words_not_only_in_colour() -> None:
    assert "A promise was not kept" in Reader(to_html(unmet_household())).visible


def test_text_of_a_run_cannot_become_markup() -> None:
    result = household()
    evil = "</script><img src=x onerror=alert(1)>&amp;"
    event = Event(9.9, Kind.LOGGED, "hub", {"level": "WARNING", "logger": "x", "text": evil})
    script = replace(result.script, scenario=evil)
    page = to_html(replace(result, script=script, events=(*result.events, event)))
    assert "<img" not in page
    Reader(page)
    assert any(evil in str(row[3]) for row in data_of(page)["events"])


def test_lanes_hold_frames_loads_requests_and_faults_of_each_device() -> None:
    data = data_of(to_html(household()))
    assert [str(name) for name in data["lanes"]] == ["phone", "tv", "laptop", "hub"]
    assert len(data["frames"]) == 200
    assert {row[0] for row in data["loads"]} == {0, 1, 2, 3}
    assert [(row[0], row[3]) for row in data["requests"]] == [(0, 1), (2, 2)]
    assert [row[1] for row in data["sessions"]] == [1, 2]
    assert ["3", "fault"] in [[str(row[0]), row[4]] for row in data["bands"]]
    assert [2, 7.2, 7.8, "paused", "paused"] in data["bands"]


def test_distributions_say_their_quantiles_in_numbers() -> None:
    seen = " ".join(Reader(to_html(household())).visible.split())
    for name in ("least", "p50", "p90", "p99", "most"):
        assert name in seen
    assert "481 ms" in seen
    assert "98 gaps" in seen


def test_devices_links_and_direct_paths_are_named() -> None:
    result = household()
    path = PathScript("tv", "hub", 1e9, 0.0003)
    seen = Reader(to_html(replace(result, script=replace(result.script, paths=(path,))))).visible
    links = ("phone → tv", "123 kB", "wifi5", "ethernet", "tv → hub (1 Gbit/s")
    for said in (*links, "phone_flagship", "on mains"):
        assert said in seen


def test_forty_devices_on_one_access_point_are_named_with_their_links() -> None:
    seen = " ".join(Reader(to_html(block(1, per_lan=40, num_requests=2))).visible.split())
    assert "h000: 40 devices on wifi5, ethernet" in seen
    assert "phone, wifi5" in seen


def test_cards_of_one_access_point_never_touch() -> None:
    for num in range(2, 13):
        cards = topology(block(1, num, num_requests=0)).drawings[0].cards
        for one, other in combinations(cards, 2):
            across, down = abs(one.x - other.x), abs(one.y - other.y)
            assert across >= CARD_WIDTH or down >= CARD_HEIGHT, (num, one, other)


def test_a_run_of_nothing_is_still_a_page() -> None:
    empty = replace(
        household(), requests=(), devices=(), flows=(), events=(), complaints=(), verdict=Verdict.HELD
    )
    seen = Reader(to_html(replace(empty, ended_s=0.0))).visible
    assert "Nothing to measure in this run." in seen
    assert "Nothing was sent." in seen


@pytest.mark.slow
def test_a_large_run_is_cut_and_says_what_was_left_out() -> None:
    result = block(38, num_requests=60)
    page = to_html(result)
    data, seen = data_of(page), Reader(page).visible
    assert len(data["lanes"]) == MOST_DEVICES
    assert f"Shown are {MOST_DEVICES} of 304 devices" in seen
    assert "2,000 of 7,200 message" in seen
    assert "Shown are 40 of" in seen
    assert len(page) < 2_000_000


def test_the_last_events_of_a_kind_are_kept() -> None:
    result = household()
    logs = [f"n{place}" for place in range(MOST_OF_A_KIND + 5)]
    many = tuple(Event(n / 1e3, Kind.LOGGED, "hub", {"level": "INFO", "text": t}) for n, t in enumerate(logs))
    said = [str(row[3]) for row in data_of(to_html(replace(result, events=many)))["events"]]
    assert len(said) == MOST_OF_A_KIND
    assert said[0].endswith("n5.")


@pytest.mark.slow
def test_the_page_of_five_thousand_devices_stays_below_five_megabytes(tmp_path: Path) -> None:
    write_html(block(625, num_requests=300, num_tokens=60), tmp_path / "page.html")
    assert 300_000 < (tmp_path / "page.html").stat().st_size < 5_000_000


@pytest.mark.slow
def test_stories_and_traces_do_not_import_the_template_engine() -> None:
    code = "import sys, simulator.report.story, simulator.report.perfetto; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
