"""A node is the same node at each start, and two agents of one name are two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import BadSetting
from mesh.types import NodeId
from nodes import identity
from nodes.identity import Identity, claim_identity


def start(data_dir: Path, name: str = "tv") -> Identity:
    with claim_identity(data_dir, name) as claimed:
        return claimed


def test_a_node_keeps_its_id_and_counts_its_starts(tmp_path: Path) -> None:
    lives = [start(tmp_path) for _ in range(3)]
    assert {life.node_id for life in lives} == {lives[0].node_id}
    assert [life.incarnation for life in lives] == [1, 2, 3]
    assert len(lives[0].node_id) == 32
    assert int(lives[0].node_id, 16) >= 0


def test_each_name_is_a_node_of_its_own(tmp_path: Path) -> None:
    assert start(tmp_path, "tv").node_id != start(tmp_path, "car").node_id


def test_a_second_agent_of_one_name_is_another_node_each_time(tmp_path: Path) -> None:
    with claim_identity(tmp_path, "tv") as first, claim_identity(tmp_path, "tv") as second:
        assert (first.slot, second.slot) == (0, 1)
        assert first.node_id != second.node_id
    with claim_identity(tmp_path, "tv") as again, claim_identity(tmp_path, "tv") as second_again:
        assert again.node_id == first.node_id
        assert second_again == Identity(second.node_id, 2, 1)


def test_a_freed_slot_is_taken_again(tmp_path: Path) -> None:
    first = claim_identity(tmp_path, "tv")
    first.__enter__()
    with claim_identity(tmp_path, "tv"):
        first.__exit__(None, None, None)
        with claim_identity(tmp_path, "tv") as third:
            assert (third.slot, third.incarnation) == (0, 2)


def test_a_second_slot_is_not_another_name(tmp_path: Path) -> None:
    second, dotted = claim_identity(tmp_path, "tv"), claim_identity(tmp_path, "tv.1")
    with claim_identity(tmp_path, "tv"), second as beside, dotted as other:
        assert (beside.slot, other.slot) == (1, 0)
        assert beside.node_id != other.node_id


@pytest.mark.slow
def test_a_killed_agent_frees_its_slot(tmp_path: Path) -> None:
    agent = (
        "import sys; from pathlib import Path; from nodes.identity import claim_identity\n"
        "with claim_identity(Path(sys.argv[1]), 'tv') as claimed: print(claimed.node_id, flush=True); input()"
    )
    command = [sys.executable, "-c", agent, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        node_id = process.stdout.readline().strip()
        try:
            assert start(tmp_path).slot == 1
        finally:
            process.kill()
    assert start(tmp_path) == Identity(NodeId(node_id), 2, 0)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"node_id": "x", "incarnation": 1}', '{"node_id": 1, "incarnation": 1}'],
)
def test_a_spoilt_file_makes_a_new_node(tmp_path: Path, content: str) -> None:
    first = start(tmp_path)
    (tmp_path / "nodes" / "tv.json").write_text(content)
    fresh = start(tmp_path)
    assert fresh.incarnation == 1
    assert fresh.node_id != first.node_id


@pytest.mark.parametrize("count", [0, -3, "7", 1.5, True])
def test_a_spoilt_count_makes_a_new_node(tmp_path: Path, count: object) -> None:
    first = start(tmp_path)
    (tmp_path / "nodes" / "tv.json").write_text(json.dumps({"node_id": first.node_id, "incarnation": count}))
    assert start(tmp_path).node_id != first.node_id


@pytest.mark.parametrize("name", ["", " ", " tv", "tv\n", "a\x00b", "x" * 64, "\u200b"])
def test_what_cannot_name_a_device_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSetting, match="1 to 63 printable characters"):
        start(tmp_path / "data", name)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["../../x", "..", "a/b", "Wohnzimmer TV", "寝室" * 31, "%2E", "~"])
def test_every_printable_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    first = start(tmp_path / "data", name)
    assert start(tmp_path / "data", name) == Identity(first.node_id, 2, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert len(list((tmp_path / "data" / "nodes").iterdir())) == 2


@given(st.lists(st.text(min_size=1, max_size=63), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_file(names: list[str]) -> None:
    first, second = names
    stems = {identity._stem(first, slot) for slot in range(3)} & {
        identity._stem(second, slot) for slot in range(3)
    }
    assert not stems
    assert all(len(identity._stem(name, 63)) <= 130 for name in names)


def test_too_many_agents_of_one_name_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_SLOTS", 1)
    with claim_identity(tmp_path, "tv"), pytest.raises(BadSetting, match="choose another --name"):
        start(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match=r"cannot use .*: Not a directory"):
        start(tmp_path / "file")


def test_a_failure_inside_the_block_goes_through_and_frees_the_slot(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), claim_identity(tmp_path, "tv"):
        raise OSError("mine")
    assert start(tmp_path).slot == 0
