"""A recording gives back the run as it was, and says in one line why it cannot."""

from __future__ import annotations

import errno
import zlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mesh.config import Timing
from mesh.errors import BadSetting
from simulator.result import RunResult
from simulator.search.replay import FORMAT, MAGIC, package_version, read, save
from simulator.trace import Event, Kind
from tests.simulator.search.fakes import run_with_bug, script_of


@pytest.fixture
def result() -> RunResult:
    script = replace(script_of(2**64 - 1), timing=Timing(stall_s=0.1 + 0.2))
    ended = run_with_bug(script)
    odd = Event(1 / 3, Kind.LOGGED, "tv", {"int": 1, "float": 1.0, "bool": True, "none": None, "text": "ä\n"})
    return replace(ended, events=(*ended.events, odd))


@pytest.fixture
def saved(result: RunResult, tmp_path: Path) -> Path:
    path = tmp_path / "first.meshrun"
    save(result, path)
    return path


def complaint(path: Path) -> str:
    with pytest.raises(BadSetting) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_recording_gives_back_script_verdict_and_every_event(result: RunResult, saved: Path) -> None:
    recording = read(saved)
    assert recording.script == result.script
    assert (recording.verdict, recording.complaints) == (result.verdict, result.complaints)
    assert (recording.digest, recording.maths) == (result.digest, "token")
    assert recording.package_version == package_version()
    assert repr(recording.events) == repr(result.events)  # to the type: 1 is not 1.0 in a digest


def test_the_same_run_gives_the_same_file(result: RunResult, saved: Path, tmp_path: Path) -> None:
    save(result, tmp_path / "second.meshrun")
    assert (tmp_path / "second.meshrun").read_bytes() == saved.read_bytes()


def test_a_failed_write_leaves_nothing_behind(result: RunResult, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "nowhere" / "a.meshrun"):
        with pytest.raises(BadSetting, match="cannot write"):
            save(result, path)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_leaves_the_recording_that_was_there(
    result: RunResult, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fill(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(BadSetting, match="No space left on device"):
        save(result, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_file_as_folder_is_one_line(result: RunResult, saved: Path) -> None:
    with pytest.raises(BadSetting, match="cannot write"):
        save(result, saved / "a.meshrun")


def test_a_recording_of_another_format_names_both(saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(MAGIC + (FORMAT + 1).to_bytes(2, "big") + content[len(MAGIC) + 2 :])
    line = complaint(saved)
    assert f"format {FORMAT + 1}" in line
    assert f"reads format {FORMAT}" in line
    assert "record its scenario and seed again" in line


@pytest.mark.parametrize("num_bytes", [3, len(MAGIC), len(MAGIC) + 1, len(MAGIC) + 2, 100, -1])
def test_a_recording_that_is_cut_off_is_damaged(saved: Path, num_bytes: int) -> None:
    saved.write_bytes(saved.read_bytes()[:num_bytes])
    assert "is a damaged recording: it is cut off; copy it again" in complaint(saved)


def test_a_turned_bit_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    for place in range(len(MAGIC) + 2, len(content), 41):
        content[place] ^= 4
        saved.write_bytes(content)
        assert "damaged recording" in complaint(saved)
        content[place] ^= 4


def test_bytes_behind_the_end_are_noticed(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"x")
    assert "there is more behind its end" in complaint(saved)


def test_a_file_that_is_no_recording_says_how_to_make_one(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"seed = 7\n")):
        (tmp_path / name).write_bytes(content)
        assert "is not a recording; make one with `mesh-sim run" in complaint(tmp_path / name)


def test_a_whole_file_that_holds_no_run_is_damaged(tmp_path: Path) -> None:
    for value in ({"script": 1}, [1, 2], None, "text"):
        packed = zlib.compress(msgspec.msgpack.encode(value))
        (tmp_path / "odd").write_bytes(MAGIC + FORMAT.to_bytes(2, "big") + packed)
        assert "what it holds is no run" in complaint(tmp_path / "odd")


def test_a_missing_file_or_a_folder_is_one_line(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "gone.meshrun")
    assert "is no regular file" in complaint(tmp_path)
