"""A record of speed is kept until what it was measured with changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nodes.speeds import Fingerprint, keep_speed, kept_speed, only_one_measures
from tests.speeds import SPEED

HERE = Fingerprint("a processor", "native", "avx2", 2, "0.1.0")


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    assert kept_speed(tmp_path, HERE) is None
    keep_speed(tmp_path / "new", HERE, SPEED)
    assert kept_speed(tmp_path / "new", HERE) == SPEED


@pytest.mark.parametrize(
    "other",
    [
        replace(HERE, processor="another"),
        replace(HERE, engine="torch"),
        replace(HERE, kind="avx512_vnni"),
        replace(HERE, num_threads=1),
        replace(HERE, package="0.2.0"),
    ],
)
def test_it_does_not_hold_where_anything_that_counts_is_another(tmp_path: Path, other: Fingerprint) -> None:
    keep_speed(tmp_path, HERE, SPEED)
    assert kept_speed(tmp_path, other) is None


def test_records_of_several_thread_counts_stand_side_by_side_and_the_newest_counts(tmp_path: Path) -> None:
    one = replace(HERE, num_threads=1)
    keep_speed(tmp_path, HERE, SPEED)
    keep_speed(tmp_path, one, replace(SPEED, num_threads=1))
    keep_speed(tmp_path, HERE, replace(SPEED, layer_bytes=5))
    assert kept_speed(tmp_path, HERE) == replace(SPEED, layer_bytes=5)
    assert kept_speed(tmp_path, one) == replace(SPEED, num_threads=1)


@pytest.mark.parametrize("spoilt", [b"", b"{", b'[{"fingerprint": 1}]', b"\xff\xfe"])
def test_a_spoilt_file_counts_as_none_and_is_written_anew(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "speed.json").write_bytes(spoilt)
    assert kept_speed(tmp_path, HERE) is None
    keep_speed(tmp_path, HERE, SPEED)
    assert kept_speed(tmp_path, HERE) == SPEED


def test_a_record_of_another_version_counts_as_none(tmp_path: Path) -> None:
    keep_speed(tmp_path, HERE, replace(SPEED, version=SPEED.version + 1))
    assert kept_speed(tmp_path, HERE) is None


def test_the_lock_is_made_with_its_folder(tmp_path: Path) -> None:
    waited: list[None] = []
    with only_one_measures(tmp_path / "new", lambda: waited.append(None)):
        assert (tmp_path / "new" / "speed.lock").exists()
    assert waited == []
