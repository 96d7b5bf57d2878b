"""The command line in this process: what is printed, exit codes, and one clear line for all that is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mesh.errors import BadSetting, ModelNotPulled
from simulator.cli import COMMANDS, run
from simulator.result import RunResult
from simulator.script import Script
from simulator.search.replay import read, save
from tests.simulator.search import fakes

Call = Callable[..., "Result"]
HOME = "evening_home"


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    def line(self, code: int) -> str:
        """The one line of a failure that printed nothing else."""
        assert (self.code, self.out) == (code, ""), self
        assert self.err.startswith("mesh-sim: ")
        assert self.err.count("\n") == 1
        return self.err[len("mesh-sim: ") : -1]

    def json(self) -> dict[str, object]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def sim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Call `mesh-sim` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Result:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


def script_of(scenario: object, seed: int) -> Script:
    """Stand in for `expand`; travels to workers."""
    return replace(fakes.script_of(seed), scenario=HOME)


@dataclass(frozen=True, slots=True)
class Running:
    """Stands in for `run_script`, and runs with one of the fakes; travels to workers."""

    fake: Callable[[Script], RunResult]

    def __call__(
        self, script: Script, parts: object = None, progress: Callable[[float], None] | None = None
    ) -> RunResult:
        if progress:
            progress(script.duration_s)
        return self.fake(script)


@pytest.fixture
def runs_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Script], RunResult]], None]:
    """Have every command run fake scripts with this."""

    def use(fake: Callable[[Script], RunResult]) -> None:
        monkeypatch.setattr("simulator.commands.engine.expand", script_of)
        monkeypatch.setattr("simulator.commands.engine.run_script", Running(fake))

    return use


RunsWith = Callable[[Callable[[Script], RunResult]], None]


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """The recording of a run that failed."""
    path = tmp_path / "failed.meshrun"
    save(fakes.run_with_bug(script_of(None, 7)), path)
    return path


def test_help_lists_every_command(sim: Call) -> None:
    shown = sim("--help")
    assert shown.code == 0
    assert all(f"\n  {name} " in shown.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(sim: Call, name: str) -> None:
    shown = sim(name, "--help")
    assert shown.code == 0
    assert f"Usage: mesh-sim {name}" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "evening_hom"], "evening_home"),
        (["plan"], "Missing argument 'MODEL'"),
        (["plan", "mimo:7", "--devices", "car"], "no model is called 'mimo:7'; did you mean 'mimo:7b-rl'?"),
        (["plan", "tiny", "--link", "wifi"], "no link profile is called 'wifi'; did you mean 'wifi5'?"),
        (["run", HOME, "--seed", "x"], "'x' is not a valid integer"),
        (["run", HOME, "--seed", "-1"], "-1 is not in the range"),
        (["run", HOME, "--maths", "fake"], "'fake' is not one of 'token', 'real'"),
        (["run", HOME, "--report", "no/such/r.html"], "cannot write no/such/r.html: no/such is no folder"),
        (["run", HOME, "--trace", "no/such/t.json"], "cannot write no/such/t.json"),
        (["run", HOME, "--save", "no/such/a.meshrun"], "cannot write no/such/a.meshrun"),
        (["run", HOME, "--save", "."], "File '.' is a directory"),
        (["run", HOME, "--save", "a.meshrun", "--processes"], "--save and --processes exclude each other"),
        (["run", HOME, "--save", ""], "names no file to write"),
        (["run", "own.toml", "--save", "own.toml"], "own.toml is named twice"),
        (["run", HOME, "--report", "same", "--trace", "same"], "same is named twice"),
        (["sweep", "own.toml", "--seeds", "0:2", "--save", "own.toml"], "own.toml is named twice"),
        (["replay", "a.meshrun", "--report", "a.meshrun"], "a.meshrun is named twice"),
        (["shrink", "a.meshrun", "--save", "a.meshrun"], "a.meshrun is named twice"),
        (["sweep", HOME, "--seeds", "0:999999999999999999999999"], "are no seeds"),
        (["sweep", HOME], "Missing option '--seeds'"),
        (["sweep", HOME, "--seeds", "7"], "'7' are no seeds; write A:B"),
        (["sweep", HOME, "--seeds", "-3:5"], "'-3:5' are no seeds"),
        (["sweep", HOME, "--seeds", "9:9"], "B must be above A"),
        (["sweep", HOME, "--seeds", "0:99999999999"], "B must be above A, by at most 10,000,000"),
        (["sweep", HOME, "--seeds", f"{2**64 - 1}:{2**64 + 1}"], "are no seeds"),
        (["sweep", HOME, "--seeds", "0:9", "--jobs", "0"], "0 is not in the range"),
        (["sweep", HOME, "--seeds", "0:9", "--jobs", "2", "--ray", "local"], "exclude each other"),
        (["sweep", "evening_hom", "--seeds", "0:9"], "evening_home"),
        (["replay", "gone.meshrun"], "cannot read gone.meshrun: No such file"),
        (["shrink", "gone.meshrun"], "cannot read gone.meshrun"),
        (["diff", HOME, "b"], "'evening_home' names no run; give a recording's file, or SCENARIO@SEED"),
        (["diff", f"{HOME}@x", "b"], "names no run"),
        (["diff", "gone.meshrun", "b"], "cannot read gone.meshrun"),
    ],
)
def test_wrong_usage_is_one_line(sim: Call, arguments: list[str], said: str) -> None:
    assert said in sim(*arguments).line(2)


def test_a_plan_is_a_sentence_and_two_tables_or_one_json_value(sim: Call) -> None:
    shown = sim("plan", "mimo:7b", "--devices", "phone=3GB,car=4GB,tv", "--link", "wifi6")
    assert shown.code == 0
    assert shown.out.startswith("car + phone share the layers, 128 tokens in about ")
    assert "mimo:7b-rl on 2 devices, int4, 1024 tokens of context" in shown.out
    assert "tokens/s" in shown.out
    found = sim("plan", "mimo:7b", "--devices", "car", "--json").json()
    assert (found["model"], found["context"]) == ("mimo:7b-rl", 1024)


def test_no_arguments_show_the_help(sim: Call) -> None:
    shown = sim()
    assert (shown.code, shown.err) == (2, "")
    assert "Usage: mesh-sim" in shown.out


def test_list_names_every_scenario(sim: Call) -> None:
    named = json.loads(sim("list", "--json").out)
    assert HOME in [scenario["name"] for scenario in named]
    assert all(set(scenario) == {"name", "summary"} for scenario in named)
    assert all(scenario["name"] in sim("list").out for scenario in named)


def test_a_run_that_holds_ends_0_and_tells_its_digest(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run)
    shown = sim("run", HOME, "--seed", "8")
    assert (shown.code, shown.err) == (0, "")
    assert fakes.run(script_of(None, 8)).digest in shown.out


def test_the_json_of_a_run_is_one_object_with_stable_fields(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run)
    shown = sim("run", HOME, "--seed", "8", "--json")
    value = shown.json()
    assert list(value) == [
        *("scenario", "seed", "digest", "verdict", "ended_s", "replay"),
        *("complaints", "figures", "requests", "devices"),
    ]
    assert (value["scenario"], value["seed"], value["verdict"]) == (HOME, 8, "held")
    assert value["replay"] == f"mesh-sim run {HOME} --seed 8"
    assert shown.err == ""


def test_a_broken_run_ends_3_with_seed_and_the_command_that_replays_it(
    sim: Call, runs_with: RunsWith
) -> None:
    runs_with(fakes.run_with_bug)
    shown = sim("run", HOME, "--seed", "7")
    assert shown.code == 3
    assert "no token twice" in shown.out
    assert f"  mesh-sim run {HOME} --seed 7" in shown.out
    shown = sim("run", HOME, "--seed", "7", "--json")
    assert shown.code == 3
    assert shown.json()["verdict"] == "broken"
    assert re.fullmatch(
        r"mesh-sim: seed 7: no token twice at 2.500 s: .*run it again with `.*--seed 7`\n", shown.err
    )


def test_a_promise_that_was_not_kept_ends_4(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run_never_kept)
    assert sim("run", HOME).code == 4


def test_a_bug_of_the_simulator_ends_3_with_its_traceback(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run_raising)
    shown = sim("run", HOME, "--seed", "3")
    assert (shown.code, shown.out) == (3, "")
    assert "in run_raising" in shown.err
    assert shown.err.endswith("mesh-sim: a bug in the simulator: ValueError: no such value\n")


def test_an_interrupted_run_ends_130_without_a_word(sim: Call, runs_with: RunsWith) -> None:
    def interrupted(script: Script) -> RunResult:
        raise KeyboardInterrupt

    runs_with(interrupted)
    assert sim("run", HOME) == Result(130, "", "\n")  # click ends the line of ^C


def test_a_model_that_is_missing_is_one_line(sim: Call, runs_with: RunsWith) -> None:
    def without(script: Script) -> RunResult:
        raise ModelNotPulled("smollm2:135m is not on this device; run `mesh pull smollm2:135m`")

    runs_with(without)
    assert "mesh pull" in sim("run", HOME).line(1)


def test_a_refusal_from_within_a_run_is_one_line(sim: Call, runs_with: RunsWith) -> None:
    def refused(script: Script) -> RunResult:
        raise BadSetting("no model 'x' is known")

    runs_with(refused)
    assert sim("run", HOME).line(2) == "no model 'x' is known"


def test_a_run_is_written_to_the_files_that_were_asked_for(
    sim: Call, runs_with: RunsWith, tmp_path: Path
) -> None:
    runs_with(fakes.run)
    assert sim("run", HOME, "--save", "a.meshrun", "--report", "r.html", "--trace", "t.json").code == 0
    assert read(tmp_path / "a.meshrun").verdict == "held"
    assert "<html" in (tmp_path / "r.html").read_text()
    assert json.loads((tmp_path / "t.json").read_text())


@pytest.mark.slow
def test_a_sweep_that_holds_ends_0_and_tells_its_throughput(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run)
    shown = sim("sweep", HOME, "--seeds", "0:12", "--jobs", "2")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"{HOME}: 12 seeds, 12 held\n")
    assert re.search(r"[0-9.]+ runs/s, [0-9,]+ virtual seconds a second", shown.out)


@pytest.mark.slow
def test_a_sweep_lists_failing_seeds_and_keeps_the_first(
    sim: Call, runs_with: RunsWith, tmp_path: Path
) -> None:
    runs_with(fakes.run_with_rare_bug)
    shown = sim("sweep", HOME, "--seeds", "0:30", "--jobs", "2")
    assert shown.code == 3
    assert f"{HOME}: 30 seeds, 27 held, 3 broken\n" in shown.out
    for seed in (7, 17, 27):
        assert f"seed {seed}: broken: no token twice at 2.500 s: request #1" in shown.out
        assert f"  mesh-sim run {HOME} --seed {seed}\n" in shown.out
    assert f"  mesh-sim shrink {HOME}-7.meshrun\n" in shown.out
    assert read(tmp_path / f"{HOME}-7.meshrun").script.seed == 7


@pytest.mark.slow
def test_the_json_of_a_sweep_has_every_failure(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run_raising)
    shown = sim("sweep", HOME, "--seeds", "0:6", "--jobs", "1", "--json")
    value = shown.json()
    assert (shown.code, value["num_held"], value["num_raised"], value["recording"]) == (3, 5, 1, None)
    assert isinstance(value["failures"], list)
    (failure,) = value["failures"]
    assert (failure["seed"], failure["error"]) == (3, "ValueError: no such value")
    assert "in run_raising" in failure["traceback"]


@pytest.mark.slow
def test_a_sweep_of_broken_promises_ends_4(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run_never_kept)
    shown = sim("sweep", HOME, "--seeds", "0:25", "--jobs", "1", "--save", "first.meshrun")
    assert shown.code == 4
    assert "and 15 more; --json lists them all" in shown.out
    assert "kept in first.meshrun" in shown.out


def test_replay_says_that_the_run_is_the_same(sim: Call, runs_with: RunsWith, failed: Path) -> None:
    runs_with(fakes.run_with_bug)
    shown = sim("replay", failed)
    assert shown.code == 3  # as the run did
    assert f"the same run: digest {read(failed).digest}" in shown.out
    assert f"  mesh-sim replay {failed}" in shown.out


def test_a_replay_that_held_and_holds_ends_0(sim: Call, runs_with: RunsWith, tmp_path: Path) -> None:
    runs_with(fakes.run)
    save(fakes.run(script_of(None, 1)), tmp_path / "held.meshrun")
    shown = sim("replay", "held.meshrun", "--json")
    assert (shown.code, shown.json()["is_same"], shown.json()["difference"]) == (0, True, None)


def test_a_replay_that_differs_ends_3_with_the_first_difference(
    sim: Call, runs_with: RunsWith, tmp_path: Path
) -> None:
    runs_with(lambda script: fakes.run(replace(script, seed=script.seed + 1)))
    save(fakes.run(script_of(None, 1)), tmp_path / "held.meshrun")
    shown = sim("replay", "held.meshrun")
    assert shown.code == 3
    assert "the same events at first: 14, the last of them:" in shown.out
    assert re.search(r"recorded: 20.000000 s .*\n +now: ", shown.out)


def test_diff_of_equal_runs_says_so_with_the_digest(sim: Call, runs_with: RunsWith, tmp_path: Path) -> None:
    runs_with(fakes.run)
    held = fakes.run(script_of(None, 5))
    save(held, tmp_path / "five.meshrun")
    shown = sim("diff", "five.meshrun", f"{HOME}@5")
    assert (shown.code, shown.out) == (0, f"the same run: digest {held.digest}\n")


def test_diff_of_two_seeds_shows_where_they_part(sim: Call, runs_with: RunsWith) -> None:
    runs_with(fakes.run)
    shown = sim("diff", f"{HOME}@5", f"{HOME}@6")
    assert shown.code == 1
    assert "the same events at first: 14, the last of them:" in shown.out
    assert f"  {HOME}@6: 20.000000 s  Token 1 of request 0 comes to phone." in shown.out
    difference = sim("diff", f"{HOME}@5", f"{HOME}@6", "--json").json()["difference"]
    assert isinstance(difference, dict)
    assert (difference["left"]["details"]["token"], difference["right"]["details"]["token"]) == (5, 6)


def test_diff_says_in_what_the_scripts_of_one_scenario_and_seed_differ(
    sim: Call, runs_with: RunsWith, tmp_path: Path
) -> None:
    runs_with(fakes.run)
    save(fakes.run(replace(script_of(None, 5), duration_s=21.0, paths=())), tmp_path / "five.meshrun")
    said = sim("diff", "five.meshrun", f"{HOME}@5").out
    assert "one scenario and seed, but two scripts: they differ in duration_s, paths\n" in said


def test_shrink_keeps_the_smallest_run_and_tells_its_story(
    sim: Call, runs_with: RunsWith, failed: Path
) -> None:
    runs_with(fakes.run_with_bug)
    shown = sim("shrink", failed)
    assert shown.code == 0
    small = failed.with_name("failed-small.meshrun")
    assert "from 8 devices, 9 faults, 6 requests to 2 devices, 1 fault, 1 request in" in shown.out
    assert "none of them can be left out alone" in shown.out
    assert f"  mesh-sim replay {small}" in shown.out
    assert len(read(small).script.devices) == 2
    assert sim("replay", small).code == 3


def test_shrink_says_when_its_runs_did_not_suffice(sim: Call, runs_with: RunsWith, failed: Path) -> None:
    runs_with(fakes.run_with_bug)
    shown = sim("shrink", failed, "--runs", "6", "--save", "s.meshrun")
    assert "in 6 runs, all that were allowed; it may still be larger than needed" in shown.out
    assert "`mesh-sim shrink s.meshrun`" in shown.out
    value = sim("shrink", failed, "--runs", "6", "--json").json()
    assert (value["is_minimal"], value["num_runs"]) == (False, 6)


def test_a_failure_that_does_not_come_again_cannot_be_shrunk(
    sim: Call, runs_with: RunsWith, failed: Path
) -> None:
    runs_with(fakes.run)
    assert "does not fail of 'no token twice' now" in sim("shrink", failed).line(2)


def test_a_run_that_held_cannot_be_shrunk(sim: Call, tmp_path: Path) -> None:
    save(fakes.run(script_of(None, 1)), tmp_path / "held.meshrun")
    assert "held, so there is nothing to shrink" in sim("shrink", "held.meshrun").line(2)


def test_output_that_nobody_reads_is_no_error_of_ours() -> None:
    command = f"{sys.executable} -m simulator.cli list --json | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1)
    assert ended.stderr == ""


@pytest.mark.slow
def test_the_light_commands_import_nothing_heavy() -> None:
    heavy = ("torch", "grpc", "zeroconf", "numpy", "jinja2", "rich", "ray")
    code = (
        "import sys, simulator.cli\n"
        "from simulator.commands import diff, list, replay, run, shrink, sweep\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
