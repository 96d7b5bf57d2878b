"""A Hugging Face folder becomes a model: its files are linked, and hashed as one."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from mesh.errors import BadSetting, ModelCorrupt, ModelNotPulled, UnknownModel
from mesh.store.pull import Puller
from mesh.store.receipt import read_receipt
from mesh.store.shelf import ModelStore
from mesh.types import Digest, ModelRef
from tests.store.conftest import sha256, unreachable

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 99, "tokenizer.json": b"[]"}
NAME = "my-model"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "My Model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "README.md").write_text("about the model")
    (folder / ".cache").mkdir()
    return folder


@pytest.fixture
def importer(store: ModelStore) -> Puller:
    return Puller(store, resolve=unreachable)


def _digest() -> Digest:
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(FILES.items()))
    return sha256("".join(lines).encode())


def test_a_folder_is_linked_under_a_name_made_from_its_own(
    importer: Puller, store: ModelStore, own: Path
) -> None:
    pulled = importer.pull(str(own))
    assert pulled == ModelRef(NAME, _digest())
    place = store.path(NAME)
    assert sorted(file.name for file in place.iterdir()) == sorted(FILES)
    assert all((place / name).samefile(own / name) for name in FILES)
    assert store.by_digest(_digest()) == place
    assert store.models() == (pulled,)
    assert not list(store.partial_folder.glob("*.folder"))


def test_files_behind_symbolic_links_are_taken_themselves(
    importer: Puller, store: ModelStore, own: Path
) -> None:
    blob = own.parent / "blob"
    (own / "model.safetensors").rename(blob)
    (own / "model.safetensors").symlink_to(blob)
    importer.pull(str(own))
    assert not (store.path(NAME) / "model.safetensors").is_symlink()
    assert importer.pull(str(own)).digest == _digest()


def test_files_of_a_disk_that_cannot_link_are_copied(
    importer: Puller, store: ModelStore, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", no_link)
    importer.pull(str(own))
    place = store.path(NAME)
    assert {name: (place / name).read_bytes() for name in FILES} == FILES
    assert not (place / "config.json").samefile(own / "config.json")


def test_progress_counts_the_bytes_of_all_files(store: ModelStore, own: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    Puller(store, progress=lambda done_bytes, total_bytes: seen.append((done_bytes, total_bytes))).pull(
        str(own)
    )
    total = sum(map(len, FILES.values()))
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_a_changed_file_is_noticed_whichever_it_is(importer: Puller, store: ModelStore, own: Path) -> None:
    importer.pull(str(own))
    for name, content in FILES.items():
        (own / name).write_bytes(content[:-1] + b"!")
        with pytest.raises(ModelCorrupt, match=f"folder of '{NAME}' was altered .*mesh pull"):
            store.path(NAME)
        (own / name).write_bytes(content)
        assert store.path(NAME)


def test_a_truncated_or_missing_file_is_noticed(importer: Puller, store: ModelStore, own: Path) -> None:
    importer.pull(str(own))
    weights = store.path(NAME) / "model.safetensors"
    os.truncate(weights, 5)
    assert store.models() == ()
    with pytest.raises(ModelCorrupt, match="is truncated"):
        store.path(NAME)
    weights.unlink()
    with pytest.raises(ModelNotPulled, match="is gone"):
        store.path(NAME)


def test_a_damaged_folder_is_replaced_by_the_next_pull(
    importer: Puller, store: ModelStore, own: Path
) -> None:
    importer.pull(str(own))
    (store.path(NAME) / "config.json").unlink()
    assert importer.pull(NAME).digest == _digest()
    assert store.path(NAME)


def test_another_folder_of_the_same_name_is_refused_while_the_first_is_whole(
    importer: Puller, own: Path, tmp_path: Path
) -> None:
    importer.pull(str(own))
    other = tmp_path / "elsewhere" / "My Model"
    other.mkdir(parents=True)
    (other / "config.json").write_text("[]")
    with pytest.raises(BadSetting, match=f"another model '{NAME}' is already here"):
        importer.pull(str(other))


def test_what_inspect_refuses_leaves_nothing(store: ModelStore, own: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.is_dir()
        raise ModelCorrupt("no good")

    with pytest.raises(ModelCorrupt, match="no good"):
        Puller(store, inspect=refuse).pull(str(own))
    assert store.models() == ()
    assert not list(store.partial_folder.glob("*.folder"))


def test_what_an_earlier_pull_left_half_is_no_hindrance(
    importer: Puller, store: ModelStore, own: Path
) -> None:
    (store.partial_folder / f"{NAME}.folder" / "old").mkdir(parents=True)
    importer.pull(str(own))
    assert sorted(file.name for file in store.path(NAME).iterdir()) == sorted(FILES)


def test_a_folder_that_is_no_models_is_one_line(importer: Puller, own: Path) -> None:
    (own / "config.json").unlink()
    with pytest.raises(BadSetting, match=r"is a folder without config\.json"):
        importer.pull(str(own))


def test_a_name_that_happens_to_be_a_folder_here_stays_a_name(
    importer: Puller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thing").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModel):
        importer.pull("thing")


@pytest.mark.parametrize("files", ["[3]", '["../x"]', "5"])
def test_a_receipt_with_other_files_means_not_pulled(
    importer: Puller, store: ModelStore, own: Path, files: str
) -> None:
    importer.pull(str(own))
    receipt = store.path(NAME).with_name("receipt.json")
    text = receipt.read_text()
    start = text.index("[")
    receipt.write_text(text[:start] + files + text[text.index("]") + 1 :])
    assert read_receipt(receipt) is None
    assert store.models() == ()
