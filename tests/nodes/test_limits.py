"""What an owner writes on the command line is what the node is told."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mesh.adapters.metered_link import Metering
from mesh.errors import BadSetting
from mesh.logic.readiness import DEFAULT_LIMITS, ReadinessLimits
from mesh.logic.rest import RestTime
from nodes.agent import AgentOptions
from nodes.agent import _conditions as agent_conditions
from nodes.agent import _settings as agent_settings
from nodes.commands import up
from nodes.limit_options import limit_options
from nodes.owner_limits import OwnerLimits
from nodes.share import parse_share


def limits(*arguments: str) -> OwnerLimits:
    """The limits that a command with such options receives."""
    received: list[OwnerLimits] = []

    def receive(*, limits: OwnerLimits) -> None:
        received.append(limits)

    command = click.command()(limit_options(receive))
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return received[0]


@pytest.mark.parametrize(
    ("text", "share"),
    [("30%", 0.3), (" 30 % ", 0.3), ("0%", 0.0), ("100%", 1.0), ("29%", 0.29), ("12.5%", 0.125)],
)
def test_a_share_is_read(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["", "%", "30", "0.3", "-1%", "100.1%", "1000%", "nan%", "3e1%", "30%%", "\u0663%"]
)
def test_what_is_no_share_is_told_by_name(text: str) -> None:
    with pytest.raises(BadSetting, match=r"is no share of a battery; write 0% to 100%") as told:
        parse_share(text)
    assert repr(text) in str(told.value)


def test_without_options_nothing_is_limited_but_the_battery() -> None:
    assert limits() == OwnerLimits()
    assert OwnerLimits().readiness == DEFAULT_LIMITS == ReadinessLimits(0.15, 0.20)


def test_all_can_be_said_and_what_repeats_adds_up() -> None:
    rest = ["--rest", "22:00-07:00", "--rest", "12:00-13:00"]
    trust = ["--distrust", "tv", "--distrust", "3fa9", "--distrust", "tv"]
    assert limits("--battery-floor", "30%", "--metered", "yes", *rest, *trust) == OwnerLimits(
        readiness=ReadinessLimits(0.30, 0.35),
        rest=(RestTime(22 * 60, 7 * 60), RestTime(12 * 60, 13 * 60)),
        metering=Metering.YES,
        distrusted=frozenset({"tv", "3fa9"}),
    )


def test_who_ignores_conditions_may_still_distrust() -> None:
    found = limits("--ignore-conditions", "--distrust", "tv", "--metered", "auto")
    assert (found.heeds_conditions, found.distrusted) == (False, frozenset({"tv"}))


def test_the_wishes_are_those_of_the_limits() -> None:
    rest = (RestTime(0, 1),)
    wishes = OwnerLimits(rest=rest, metering=Metering.YES).wishes
    assert (wishes.rest, wishes.is_metered()) == (rest, True)


def test_the_agent_makes_node_and_conditions_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[AgentOptions] = []
    monkeypatch.setattr(up, "run_agent", lambda options, _: told.append(options))
    monkeypatch.setattr("mesh.adapters.event_loop.run", lambda _: None)
    monkeypatch.setattr(up, "_log_to_stderr", lambda: None)
    words = ["--battery-floor", "50%", "--distrust", "tv", "--rest", "00:00-24:00", "--metered", "yes"]
    CliRunner().invoke(up.command, [*words, "--data-dir", str(tmp_path)], catch_exceptions=False)
    (options,) = told
    settings = agent_settings(options)
    assert settings.planning.distrusted == frozenset({"tv"})
    assert settings.readiness == ReadinessLimits(0.5, 0.55)
    conditions = agent_conditions(options)
    assert conditions is not None
    condition = conditions.look()
    assert (condition.is_metered, condition.resting_until) == (True, "further notice")
