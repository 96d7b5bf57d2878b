"""Packs on disk: read back instead of the model, and made again whenever they cannot be trusted."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.engines.native.packs import Packs
from mesh.engines.native.parts import Part
from mesh.model.gguf import GgufFile
from mesh.model.quant import Floats
from mesh.types import Digest, Precision, Span
from tests.engines.native.models import NORMED, PLAIN, fed, load, same_bits, some_ids, write

MODEL = Digest("a" * 64)
PART: Part = {"norm": np.arange(5, dtype=np.float32), "matrix": np.arange(200, dtype=np.uint8)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, PLAIN)


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs.beside(tmp_path / "model.gguf", MODEL, Precision.INT4)


@pytest.fixture(autouse=True)
def warnings_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def made_again(packs: Packs) -> bool:
    """Ask for a part; return whether it had to be made, and check that it is right."""
    asked: list[str] = []

    def make() -> Part:
        asked.append("part")
        return PART

    part = packs.get("part", make)
    assert list(part) == list(PART)
    for name, array in PART.items():
        assert part[name].dtype == array.dtype
        assert (part[name] == array).all()
    return bool(asked)


def test_a_second_load_reads_no_tensor_and_gives_the_same_bits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = some_ids(PLAIN, 20)
    expected = fed(load(path, PLAIN), ids)
    read: list[str] = []
    monkeypatch.setattr(GgufFile, "raw", lambda file, name: read.append(name))
    again = load(path, PLAIN)
    assert not read
    assert same_bits(fed(again, ids), expected)
    assert again.logits(expected, 1).shape == (20, PLAIN.vocab_size)


def test_only_the_spans_tensors_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    raw = GgufFile.raw

    def noted(file: GgufFile, name: str) -> NDArray[np.uint8]:
        read.append(name)
        return raw(file, name)

    monkeypatch.setattr(GgufFile, "raw", noted)
    load(path, PLAIN, Span(1, 2))
    assert len(read) == 9
    assert all(name.startswith("blk.1.") for name in read)


def test_other_spans_use_the_same_packs_and_precisions_their_own(path: Path) -> None:
    load(path, PLAIN)
    before = sorted(path.parent.rglob("*.pack"))
    load(path, PLAIN, Span(0, 1))
    load(path, PLAIN, Span(1, 3))
    assert sorted(path.parent.rglob("*.pack")) == before
    load(path, PLAIN, Span(1, 2), Precision.INT8)
    assert len(sorted(path.parent.rglob("*.pack"))) == len(before) + 1


def test_a_head_that_is_the_embedding_is_held_once_and_kept_once(tmp_path: Path) -> None:
    tied, untied = write(tmp_path / "tied", PLAIN), write(tmp_path / "untied", NORMED)
    load(tied, PLAIN)
    load(untied, NORMED)
    assert not sorted(tied.parent.rglob("head.pack"))
    assert sorted(untied.parent.rglob("head.pack"))


def test_a_part_is_kept_and_read_back(packs: Packs, caplog: pytest.LogCaptureFixture) -> None:
    assert made_again(packs)
    assert not made_again(packs)
    assert sorted(entry.name for entry in packs.folder.iterdir()) == ["part.pack"]
    assert not warnings(caplog)


def turned(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "only a header": lambda content: content[:100],
    "truncated": lambda content: content[:-64],
    "a bit of an array": lambda content: turned(content, len(content) - 100),
    "the last bit": lambda content: turned(content, len(content) - 1),
    "a place": lambda content: content.replace(b'"offset":64', b'"offset":32'),
    "a name": lambda content: content.replace(b'"norm"', b'"form"'),
    "a type": lambda content: content.replace(b'"<f4"', b'"<i4"'),
    "a size beyond all": lambda content: content.replace(b'"data_bytes":', b'"data_bytes":9' + b"9" * 30),
    "not ours": lambda content: b"PK\x03\x04" + content,
    "JSON of others": lambda content: b'{"format": 3}\n' + content,
    "no JSON": lambda content: b"\xff" * 10_000,
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_pack_is_made_again_with_one_line(
    packs: Packs, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    made_again(packs)
    pack = packs.folder / "part.pack"
    whole = pack.read_bytes()
    pack.write_bytes(DAMAGES[damage](whole))
    assert pack.read_bytes() != whole
    assert made_again(packs)
    (line,) = warnings(caplog)
    assert "part.pack" in line
    assert "is made again" in line
    assert "\n" not in line
    assert not made_again(packs)
    assert pack.read_bytes() == whole


def test_every_single_bit_counts(packs: Packs) -> None:
    made_again(packs)
    pack = packs.folder / "part.pack"
    whole = pack.read_bytes()
    used = len(whole.rstrip(b"\0"))
    for at in range(0, used, 17):
        pack.write_bytes(turned(whole, at))
        made_again(packs)  # checks that the part is right, whether or not that byte meant something


def test_a_pack_of_another_model_is_made_again(packs: Packs, caplog: pytest.LogCaptureFixture) -> None:
    made_again(packs)
    assert made_again(replace(packs, model=Digest("b" * 64)))
    (line,) = warnings(caplog)
    assert "of other weights" in line


def test_without_a_place_to_write_to_a_stage_loads_all_the_same(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path.parent / "packed").write_text("a file where the folder would be")
    ids = some_ids(PLAIN, 5)
    one, other = fed(load(path, PLAIN), ids), fed(load(path, PLAIN), ids)
    assert same_bits(one, other)
    assert all("could not be written" in line or "cannot be used" in line for line in warnings(caplog))


def test_a_pack_that_cannot_be_put_in_its_place_leaves_nothing_behind(packs: Packs) -> None:
    (packs.folder / "part.pack" / "inside").mkdir(parents=True)
    assert made_again(packs)
    assert [entry.name for entry in packs.folder.iterdir()] == ["part.pack"]


def test_a_pack_that_is_replaced_stays_valid_for_who_has_it(packs: Packs) -> None:
    made_again(packs)
    held = packs.get("part", dict)
    (packs.folder / "part.pack").rename(packs.folder / "gone")
    (packs.folder / "gone").unlink()
    made_again(packs)
    assert (held["norm"] == PART["norm"]).all()


def load_and_run(path: Path, results: multiprocessing.Queue[bytes]) -> None:
    results.put(fed(load(path, PLAIN), some_ids(PLAIN, 20)).tobytes())


@pytest.mark.slow
@pytest.mark.real
def test_two_processes_may_pack_the_same_model_at_once(path: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bytes] = context.Queue()
    processes = [context.Process(target=load_and_run, args=(path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    given = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    expected: Floats = fed(load(path, PLAIN), some_ids(PLAIN, 20))
    assert given == [expected.tobytes()] * 2
    left = [entry for entry in tmp_path.rglob("*") if entry.is_file() and entry.suffix != ".pack"]
    assert left == [path]
