"""The command line in this process: what is printed, and one clear line for everything that is wrong."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from mesh.errors import UnknownDevice
from mesh.messages import Piece
from mesh.types import ChatMessage, Device, Sampling
from nodes.cli import COMMANDS, run
from nodes.options import Reach
from tests.nodes.shown import device, summary

Run = Callable[..., "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    def line(self, code: int) -> str:
        """The one line of a failure that printed nothing else."""
        assert (self.code, self.out) == (code, ""), self
        assert self.err.startswith("mesh: ")
        assert self.err.count("\n") == 1
        return self.err[len("mesh: ") : -1]


@pytest.fixture
def mesh(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> Result:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


@pytest.fixture
def copied(smollm2_path: Path, tmp_path: Path) -> Path:
    """A data directory of our own with the real model, to be damaged."""
    folder = tmp_path / "models" / "smollm2-135m"
    shutil.copytree(smollm2_path.parent, folder, copy_function=shutil.copy2)
    return tmp_path


@pytest.mark.parametrize("command", [["ask", "-"], ["chat", "--mesh", "nobody-lives-here", "--wait", "0"]])
def test_a_closed_standard_input_is_one_line(
    mesh: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert "standard input is closed" in mesh(*command).line(2)


def test_bytes_on_standard_input_that_are_no_text_are_one_line(
    mesh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert "no UTF-8 text" in mesh("ask", "-").line(2)


def test_help_lists_every_command(mesh: Run) -> None:
    shown = mesh("--help")
    assert shown.code == 0
    assert all(f"\n  {name} " in shown.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(mesh: Run, name: str) -> None:
    shown = mesh(name, "--help")
    assert shown.code == 0
    assert f"Usage: mesh {name}" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["ask"], "Missing argument 'PROMPT'"),
        (["ask", ""], "the prompt is empty; say what to ask"),
        (["ask", "x", "--max-tokens", "0"], "0 is not in the range"),
        (["ask", "x", "--temperature", "-1"], "-1.0 is not in the range"),
        (["ask", "x", "--top-p", "0"], "0.0 is not in the range"),
        (["ask", "x", "--top-p", "1.1"], "1.1 is not in the range"),
        (["ask", "x", "--peer", "nowhere"], "'nowhere' is not an address; write HOST:PORT"),
        (["devices", "--peer", "host:99999"], "'host:99999' is not an address"),
        (["up", "--class", "toaster"], "'toaster' is not one of 'phone', 'car', 'tv'"),
        (["up", "--memory", "lots"], "'lots'"),
        (["up", "--memory", "-3MB"], "'-3MB'"),
        (["up", "--name", ""], "cannot name a device"),
        (["up", "--listen", "7070"], "'7070' is not an address"),
        (["up", "--memory", "1GB", "--spare", "2GB"], "--spare 2 GB leaves nothing of the 1 GB"),
        (["up", "--memory", "1GB", "--spare", "1GB"], "--spare 1 GB leaves nothing of the 1 GB"),
        (["up", "--spare", "much"], "'much'"),
        (["up", "--battery-floor", "abc"], "'abc' is no share of a battery; write 0% to 100%"),
        (["up", "--battery-floor", "30"], "'30' is no share of a battery"),
        (["up", "--battery-floor", "101%"], "'101%' is no share of a battery"),
        (
            ["up", "--rest", "25:00-7"],
            "'25:00-7' is no time of the day to rest; write for instance 22:00-07:00",
        ),
        (["up", "--rest", "22:00-07:00", "--rest", "8:00-8:00"], "'8:00-8:00' ends as it starts"),
        (["up", "--metered", "perhaps"], "'perhaps' is not one of 'yes', 'no', 'auto'"),
        (["up", "--distrust", ""], "cannot name a device"),
        (
            ["up", "--ignore-conditions", "--rest", "22:00-07:00"],
            "with --ignore-conditions nobody heeds --rest",
        ),
        (["up", "--ignore-conditions", "--battery-floor", "0%"], "nobody heeds --battery-floor; leave one"),
        (["up", "--ignore-conditions", "--metered", "yes"], "nobody heeds --metered yes; leave one"),
        (["up", "--ignore-conditions", "--metered", "no"], "nobody heeds --metered no; leave one"),
        (["ask", "x", "--skill", "maths"], "'maths' is not one of 'chat', 'math', 'code', 'reasoning'"),
        (["explain", "x", "--skill", ""], "'' is not one of 'chat', 'math', 'code', 'reasoning'"),
        (["up", "--standby", "some"], "'some' is not one of 'none', 'auto', 'all'"),
        (["up", "--aim", "fast"], "'fast' is not one of 'auto', 'latency', 'throughput'"),
        (["demo", "--standby", "some"], "'some' is not one of 'none', 'auto', 'all'"),
        (["demo", "--kill", "radio@8"], "there is no device 'radio' to kill; the demo has phone, car, tv"),
        (["demo", "--kill", "tv@0"], "'0' is no token to kill tv at"),
        (["demo", "--kill", "tv@21", "--max-tokens", "20"], "tv cannot be killed at token 21"),
        (["drain"], "Missing argument 'NAME'"),
        (["drain", "tv", "--force", "--undo"], "--undo takes a drain back and needs no --force"),
        (["demo", "--devices", "phone,toaster"], "unknown device class 'toaster'; choose from phone, car"),
        (["demo", "--devices", ",".join(["tv"] * 9)], "9 devices are too many"),
        (["logits", "smollm2:135m", "--tokens", "1,x", "--out", "a.npy"], "'1,x' is not a list of whole"),
    ],
)
def test_wrong_usage_is_one_line(mesh: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    extra = ["--data-dir", tmp_path] if arguments[0] in ("up", "demo") else []
    assert said in mesh(*arguments, *extra).line(2)


@pytest.mark.parametrize("command", ["demo", "logits", "pull"])
def test_an_unknown_model_names_the_command_that_lists_them(mesh: Run, tmp_path: Path, command: str) -> None:
    arguments: dict[str, list[str | Path]] = {
        "demo": ["demo", "--model", "smollm3"],
        "logits": ["logits", "smollm3", "--tokens", "1", "--out", tmp_path / "a.npy"],
        "pull": ["pull", "smollm3"],
    }
    line = mesh(*arguments[command], "--data-dir", tmp_path).line(1)
    assert "smollm3" in line
    assert "`mesh models`" in line


def test_a_model_that_is_not_pulled_names_the_command_that_does(mesh: Run, tmp_path: Path) -> None:
    assert "mesh pull smollm2:135m" in mesh("demo", "--data-dir", tmp_path).line(1)


@pytest.mark.slow
def test_nobody_there_says_how_to_start_somebody(mesh: Run) -> None:
    line = mesh("devices", "--mesh", "nobody-lives-here", "--wait", "0.1").line(1)
    assert "no device of mesh 'nobody-lives-here' was found within 0.1 s; start one with `mesh up`" in line


@dataclass(slots=True)
class Drained:
    """A client that drains nobody, and knows two devices."""

    calls: list[tuple[str, bool, bool]]

    async def drain(self, name: str, *, is_forced: bool, is_over: bool) -> None:
        self.calls.append((name, is_forced, is_over))
        if name == "radio":
            raise UnknownDevice("no device 'radio' is in the mesh now")

    async def devices(self) -> tuple[Device, ...]:
        return (device("phone"), device("tv", leaving="it is too hot"))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Drained:
    connected = Drained([])

    @asynccontextmanager
    async def connect(reach: Reach) -> AsyncIterator[Drained]:
        yield connected

    monkeypatch.setattr(Reach, "connect", connect)
    return connected


def test_drain_says_when_it_is_done_and_how_to_take_it_back(mesh: Run, client: Drained) -> None:
    shown = mesh("drain", "my tv")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "my tv holds no answer any more and takes nothing new; `mesh drain 'my tv' --undo` takes it back\n"
    )
    assert mesh("drain", "tv", "--undo").out == "tv takes part again\n"
    assert mesh("drain", "tv", "--force").code == 0
    assert client.calls == [("my tv", False, False), ("tv", False, True), ("tv", True, False)]


def test_draining_a_device_that_is_not_there_is_one_line(mesh: Run, client: Drained) -> None:
    assert mesh("drain", "radio").line(1) == "no device 'radio' is in the mesh now"


def test_devices_says_below_its_table_who_is_leaving_and_why(mesh: Run, client: Drained) -> None:
    assert mesh("devices").out.splitlines()[-1] == "tv is leaving: it is too hot"
    assert [line["leaving"] for line in json.loads(mesh("devices", "--json").out)] == [None, "it is too hot"]


def test_models_lists_what_can_be_had(mesh: Run, tmp_path: Path) -> None:
    listed = json.loads(mesh("models", "--json", "--data-dir", tmp_path).out)
    assert [(model["name"], model["path"]) for model in listed] == [("smollm2:135m", None)]
    assert "mesh pull smollm2:135m" in mesh("models", "--data-dir", tmp_path).out


@pytest.mark.model
@pytest.mark.slow
def test_a_truncated_model_is_told(mesh: Run, copied: Path) -> None:
    file = copied / "models" / "smollm2-135m" / "model.gguf"
    os.truncate(file, 50_000_000)
    assert "truncated" in mesh("demo", "--data-dir", copied).line(1)


@pytest.mark.model
@pytest.mark.slow
def test_an_altered_model_is_told_and_pull_says_nothing_else(mesh: Run, copied: Path) -> None:
    path = copied / "models" / "smollm2-135m" / "model.gguf"
    with path.open("r+b") as file:
        file.seek(60_000_000)
        file.write(b"altered")
    out = copied / "a.npy"
    assert "altered" in mesh(
        "logits", "smollm2:135m", "--tokens", "1", "--out", out, "--data-dir", copied
    ).line(1)
    assert not out.exists()


def test_an_architecture_that_is_not_supported_is_named_and_not_kept(mesh: Run, tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_tensor("x", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    line = mesh("pull", path, "--data-dir", tmp_path / "store").line(1)
    assert line.startswith(f"{path} has architecture 'mamba'; supported: llama")
    assert json.loads(mesh("models", "--json", "--data-dir", tmp_path / "store").out)[0]["path"] is None


def test_a_file_that_is_no_model_is_told(mesh: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("these are my notes")
    assert "notes.gguf" in mesh("pull", path, "--data-dir", tmp_path / "store").line(1)


@pytest.mark.model
@pytest.mark.slow
def test_logits_are_the_same_however_split(mesh: Run, smollm2_path: Path, tmp_path: Path) -> None:
    def logits(*options: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        out = tmp_path / "logits.npy"
        data_dir = smollm2_path.parents[2]
        shown = mesh(
            "logits",
            "smollm2:135m",
            "--tokens",
            "504,3575,282",
            "--out",
            out,
            "--data-dir",
            data_dir,
            *options,
        )
        assert (shown.code, shown.err) == (0, "")
        return np.load(out)  # type: ignore[no-any-return]

    whole = logits("--dtype", "f32")
    assert (whole.shape, str(whole.dtype)) == ((3, 49152), "float32")
    assert np.abs(logits("--dtype", "f32", "--split", "2,5") - whole).max() <= 1e-5
    assert np.array_equal(logits("--split", "7"), logits())


@pytest.mark.model
def test_logits_refuse_cuts_and_tokens_that_are_not_there(
    mesh: Run, smollm2_path: Path, tmp_path: Path
) -> None:
    common = ["logits", "smollm2:135m", "--out", tmp_path / "x.npy", "--data-dir", smollm2_path.parents[2]]
    for cuts in ("0", "30", "5,5", "9,3"):
        assert "does not cut 30 layers" in mesh(*common, "--tokens", "1", "--split", cuts).line(2)
    assert "outside the vocabulary of 49152" in mesh(*common, "--tokens", "49152").line(1)
    nowhere = [
        "logits",
        "smollm2:135m",
        "--out",
        tmp_path / "no" / "x.npy",
        "--data-dir",
        smollm2_path.parents[2],
    ]
    assert "cannot write" in mesh(*nowhere, "--tokens", "1").line(2)
    assert list(tmp_path.iterdir()) == []


class Thinker:
    """A client of a model that thinks, which says the same to whatever it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, dict[str, object]]] = []

    def chat(self, prompt: str | Sequence[ChatMessage], **options: object) -> Thought:
        self.asked.append((prompt, options))
        return Thought()


class Thought:
    """Its answer."""

    reasoning = "so on"
    decision = None
    recoveries = ()
    summary = replace(summary(2), sampling=Sampling(temperature=0.6, top_p=0.95))

    async def __aiter__(self) -> AsyncIterator[Piece]:
        for each in (Piece(1, "", (1,), "so "), Piece(1, "Tokyo", (2,), "on")):
            yield each

    async def text(self) -> str:
        return "Tokyo"


@pytest.fixture
def thinker(monkeypatch: pytest.MonkeyPatch) -> Thinker:
    connected = Thinker()

    @asynccontextmanager
    async def connect(reach: Reach) -> AsyncIterator[Thinker]:
        yield connected

    monkeypatch.setattr(Reach, "connect", connect)
    return connected


def test_ask_prints_the_answer_alone_and_tells_what_was_thought_in_json(mesh: Run, thinker: Thinker) -> None:
    shown = mesh("ask", "Where?")
    assert (shown.code, shown.out, shown.err) == (0, "Tokyo\n", "")
    told = json.loads(mesh("ask", "Where?", "--json").out)
    assert (told["text"], told["reasoning"]) == ("Tokyo", "so on")
    assert told["sampling"]["temperature"] == 0.6


def test_what_was_thought_is_not_sent_back_in_the_next_turn(
    mesh: Run, thinker: Thinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Where?\nAnd then?\n"))
    assert mesh("chat").out == "Tokyo\nTokyo\n"
    said = [
        ChatMessage("user", "Where?"),
        ChatMessage("assistant", "Tokyo"),
        ChatMessage("user", "And then?"),
    ]
    assert [asked for asked, _ in thinker.asked] == [said[:1], said]


def test_how_tokens_are_drawn_is_said_only_where_it_was(mesh: Run, thinker: Thinker) -> None:
    mesh("ask", "Where?")
    mesh("ask", "Where?", "--temperature", "0", "--top-p", "0.9")
    silent, told = (options for _, options in thinker.asked)
    assert not {"temperature", "top_p"} & silent.keys()
    assert (told["temperature"], told["top_p"]) == (0.0, 0.9)
