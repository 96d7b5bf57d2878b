"""`mesh bench device`: on what it measures, what it prints, what it remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nodes.bench_device as bench
import nodes.commands.bench as bench_command
from mesh.engines.choosing import EngineName
from mesh.engines.random_model import SHAPE
from mesh.errors import ModelNotPulled
from mesh.store.shelf import ModelStore
from mesh.types import SpeedRecord
from nodes.bench_device import Choice, subject
from nodes.cli import run
from nodes.speeds import kept_speed
from tests.speeds import SPEED


def test_without_a_model_it_is_measured_on_random_weights_that_are_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "write_random_model", lambda path: path.write_bytes(b"weights"))
    with subject(ModelStore(tmp_path), None) as chosen:
        assert chosen.spec == SHAPE
        assert chosen.path.read_bytes() == b"weights"
    assert not chosen.path.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_named_and_not_here_is_no_reason_to_take_another(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelNotPulled, match="mesh pull smollm2:135m"),
        subject(ModelStore(tmp_path), "smollm2:135m"),
    ):
        pytest.fail("there is none")


@pytest.mark.model
def test_the_small_model_is_taken_where_it_is_here(data_dir: Path, smollm2_path: Path) -> None:
    with subject(ModelStore(data_dir), None) as chosen:
        assert chosen.path.resolve() == smollm2_path.resolve()
        assert (chosen.spec.name, chosen.key.span) == ("smollm2:135m", chosen.spec.whole)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """What was measured, which takes no time and comes to SPEED."""
    choices: list[Choice] = []

    def measure(choice: Choice, seconds: float) -> SpeedRecord:
        choices.append(choice)
        return SPEED

    monkeypatch.setattr(bench_command, "measure", measure)
    return choices


def bench_device(data_dir: Path, *options: str) -> int:
    return run(["bench", "device", "--data-dir", str(data_dir), "--threads", "2", *options])


def test_the_result_is_printed_and_remembered_for_that_many_threads(
    tmp_path: Path, measured: list[Choice], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_device(tmp_path, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["decode_tokens_per_s"], printed["prefill_tokens_per_s"]) == (100.0, 1000.0)
    assert printed["steps"][2] == {
        "num_sessions": 8, "layer_s": 0.0014, "head_s": 0.01, "step_s": 0.024, "tokens_per_s": 333.33
    }  # fmt: skip
    assert printed["further_session_s"] == pytest.approx(0.002)
    assert (printed["weights_rate_bytes_per_s"], printed["memory_rate_bytes_per_s"]) == (4e9, 10e9)
    assert kept_speed(tmp_path, Choice(tmp_path, EngineName.AUTO, 2).fingerprint) == SPEED
    assert kept_speed(tmp_path, Choice(tmp_path, EngineName.AUTO, 1).fingerprint) is None


def test_what_is_remembered_is_shown_again_only_where_that_is_asked_for(
    tmp_path: Path, measured: list[Choice]
) -> None:
    for options, num_measured in (((), 1), (("--kept",), 1), ((), 2)):
        assert bench_device(tmp_path, *options) == 0
        assert len(measured) == num_measured


def test_a_model_that_is_named_is_measured_and_not_remembered(tmp_path: Path, measured: list[Choice]) -> None:
    assert bench_device(tmp_path, "--model", "other", "--kept") == 0
    assert [choice.model for choice in measured] == ["other"]
    assert not (tmp_path / "speed.json").exists()


def test_people_see_a_row_for_each_number_of_sessions(
    tmp_path: Path, measured: list[Choice], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_device(tmp_path) == 0
    shown = capsys.readouterr().out
    assert [row.split("│")[5].strip() for row in shown.splitlines() if row.startswith("│")] == [
        "100.0", "166.7", "333.3"
    ]  # fmt: skip
    assert "prefill: 1000 tokens/s, 100.0 us a layer and token" in shown
    assert "weights are read with 4.0 GB/s; memory copies with 10.0 GB/s" in shown


def test_a_model_that_is_not_here_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_device(tmp_path, "--model", "smollm2:135m") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mesh pull smollm2:135m" in said


def test_without_a_command_the_group_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench"]) == 2
    assert "Measure prefill, decode and memory." in capsys.readouterr().out
