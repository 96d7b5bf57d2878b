"""The store says what is whole, and notices what was cut, altered, removed or merely touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mesh.errors import BadSetting, ModelCorrupt, ModelNotPulled, UnknownModel
from mesh.store.shelf import ModelStore
from mesh.types import Digest, ModelRef
from tests.store.conftest import NAME, sha256

CONTENT = b"GGUF and so on"
DIGEST = sha256(CONTENT)


@pytest.fixture
def file(store: ModelStore) -> Path:
    """A model on the shelf."""
    put(store, NAME)
    return store.path(NAME)


def put(store: ModelStore, name: str) -> ModelRef:
    finished = store.data_dir / "finished"
    finished.parent.mkdir(exist_ok=True)
    finished.write_bytes(CONTENT)
    return store.put(name, finished, DIGEST, name)


def read_receipt(file: Path) -> dict[str, object]:
    content = json.loads(file.with_name("receipt.json").read_text())
    assert isinstance(content, dict)
    return content


def test_an_empty_store_lists_nothing_and_makes_no_folder(store: ModelStore) -> None:
    assert store.models() == ()
    assert not store.data_dir.exists()


def test_a_known_model_that_is_absent_names_the_command(store: ModelStore) -> None:
    with pytest.raises(ModelNotPulled, match=f"mesh pull {NAME}$"):
        store.path(NAME)


@pytest.mark.parametrize("name", ["fat", "../fat-1b", "fat-1b", "FAT:1B", "/etc", ""])
def test_any_other_name_is_unknown(store: ModelStore, file: Path, name: str) -> None:
    with pytest.raises(UnknownModel, match=r"mesh models"):
        store.path(name)


def test_what_was_put_is_found_by_name_and_by_content(store: ModelStore, file: Path) -> None:
    assert file == store.folder / "fat-1b" / "model.gguf"
    assert store.models() == (ModelRef(NAME, DIGEST),)
    assert store.by_digest(DIGEST) == file
    assert read_receipt(file) == {
        "name": NAME,
        "sha256": DIGEST,
        "size_bytes": len(CONTENT),
        "mtime_ns": file.stat().st_mtime_ns,
        "source": NAME,
    }


def test_models_are_listed_by_name(store: ModelStore) -> None:
    for name in ("z", "b/c", "a"):
        put(store, name)
    assert [model.name for model in store.models()] == ["a", "b/c", "z"]
    assert [line.name for line in store.listing()] == ["a", "b/c", NAME, "z"]
    assert [line.path is None for line in store.listing()] == [False, False, True, False]


def test_a_truncated_file_is_not_listed_and_named_as_truncated(store: ModelStore, file: Path) -> None:
    os.truncate(file, 5)
    assert store.models() == ()
    with pytest.raises(ModelCorrupt, match=rf"truncated \(5 of 14 bytes\).*mesh pull {NAME}$"):
        store.path(NAME)


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"!"])
def test_an_altered_file_is_named_as_altered_each_time(store: ModelStore, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(ModelCorrupt, match=f"was altered .*mesh pull {NAME}$"):
            store.path(NAME)
    with pytest.raises((ModelCorrupt, ModelNotPulled)):
        store.by_digest(DIGEST)


def test_a_touched_file_is_hashed_once_and_its_receipt_refreshed(store: ModelStore, file: Path) -> None:
    os.utime(file, ns=(1, 1))
    assert store.path(NAME) == file
    assert read_receipt(file)["mtime_ns"] == 1
    assert store.models() == (ModelRef(NAME, DIGEST),)


def test_a_removed_file_is_not_pulled(store: ModelStore, file: Path) -> None:
    file.unlink()
    assert store.models() == ()
    with pytest.raises(ModelNotPulled, match=f"is gone; .*mesh pull {NAME}$"):
        store.path(NAME)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": 3}'])
def test_a_receipt_that_cannot_be_read_means_not_pulled(store: ModelStore, file: Path, content: str) -> None:
    file.with_name("receipt.json").write_text(content)
    assert store.models() == ()
    with pytest.raises(ModelNotPulled):
        store.path(NAME)


def test_a_receipt_of_wrong_types_means_not_pulled(store: ModelStore, file: Path) -> None:
    spoilt = read_receipt(file) | {"size_bytes": "14"}
    file.with_name("receipt.json").write_text(json.dumps(spoilt))
    assert store.models() == ()


def test_a_folder_moved_by_hand_is_left_out(store: ModelStore, file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))
    assert store.models() == ()


def test_an_absent_digest_names_the_model_where_the_catalogue_knows_it(store: ModelStore) -> None:
    with pytest.raises(ModelNotPulled, match=f"mesh pull {NAME}$"):
        store.by_digest(store.catalogue.entries[0].sha256)
    with pytest.raises(ModelNotPulled, match="sha256 000000000000"):
        store.by_digest(Digest("0" * 64))


def test_what_cannot_be_a_name_has_no_place(store: ModelStore) -> None:
    with pytest.raises(BadSetting, match="cannot name a model"):
        store.file_of("../../x")
