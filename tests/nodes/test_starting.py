"""What an agent says when it has started."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.adapters.metered_link import Metering
from mesh.decision import Privacy
from mesh.engines.choosing import EngineName
from mesh.logic.readiness import ReadinessLimits
from mesh.logic.rest import parse_rest_time
from mesh.types import Address, DeviceClass, Standby
from mesh.upstream import UpstreamCard, UpstreamModel
from nodes.agent import AgentOptions
from nodes.commands.up import _say_started
from nodes.owner_limits import OwnerLimits
from nodes.starting import limit_lines, server_lines
from tests.nodes.shown import record

MODELS = (UpstreamModel("big", "big"),)
SERVERS = (UpstreamCard("attic", MODELS, Privacy.MESH), UpstreamCard("gemini", MODELS))


def options(limits: OwnerLimits) -> AgentOptions:
    return AgentOptions(
        name="tv",
        default_name="tv",
        device_class=DeviceClass.TV,
        memory_bytes=300_000_000,
        spare_bytes=0,
        standby=Standby.NONE,
        aim=None,
        draft_model=None,
        num_threads=1,
        engine=EngineName.AUTO,
        listen=Address("127.0.0.1", 0),
        peers=(),
        data_dir=Path(),
        mesh="home",
        until_eof=False,
        limits=limits,
        measures_speed=False,
    )


def test_what_is_usual_is_not_said() -> None:
    assert list(limit_lines(OwnerLimits())) == []


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (OwnerLimits(rest=(parse_rest_time("0:00-24:00"),)), "rests 00:00-24:00 each day"),
        (
            OwnerLimits(rest=(parse_rest_time("22:00-7:30"), parse_rest_time("12:00-13:00"))),
            "rests 22:00-07:30, 12:00-13:00 each day",
        ),
        (OwnerLimits(metering=Metering.YES), "counts its link as metered"),
        (OwnerLimits(metering=Metering.NO), "never counts its link as metered"),
        (OwnerLimits(distrusted=frozenset({"nosuch", "c"})), "distrusts c, nosuch"),
        (
            OwnerLimits(readiness=ReadinessLimits.above(0.29)),
            "hands over while its battery is below 29% and does not charge",
        ),
        (OwnerLimits(readiness=ReadinessLimits.above(0.0)), "heeds no battery"),
        (
            OwnerLimits(heeds_conditions=False),
            "stays whatever battery, heat, link and the file 'departing' say",
        ),
    ],
)
def test_each_limit_is_one_line(limits: OwnerLimits, line: str) -> None:
    assert list(limit_lines(limits)) == [line]


def test_each_server_is_named_with_how_far_it_is() -> None:
    assert list(server_lines(SERVERS)) == [
        "the server attic is attached (privacy mesh)",
        "the server gemini is attached (privacy cloud)",
    ]


def test_all_of_it_comes_after_the_line_that_the_agent_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    _say_started(options(OwnerLimits(distrusted=frozenset({"c"}))), record("tv"), SERVERS[:1])
    assert capsys.readouterr().out.splitlines() == [
        "tv (tv) is up in mesh 'home' at 127.0.0.1:7003, lends 300 MB; Ctrl-C leaves",
        "distrusts c",
        "the server attic is attached (privacy mesh)",
    ]
