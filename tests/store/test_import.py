"""A GGUF file of one's own, or one of the hub, becomes a model under a name made from the file's."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import types
from pathlib import Path

import pytest

from mesh.errors import BadSetting, ModelCorrupt, PullFailed, UnknownModel
from mesh.store.catalogue import HubFile
from mesh.store.lock import try_lock
from mesh.store.pull import Puller
from mesh.store.resolve import resolve_hub
from mesh.store.shelf import ModelStore
from mesh.types import ModelRef
from tests.store.conftest import Goods, sha256, unreachable
from tests.store.server import FileServer


@pytest.fixture
def own(tmp_path: Path, goods: Goods) -> Path:
    path = tmp_path / "My Model_Q4.GGUF"
    path.write_bytes(goods.gguf)
    return path


@pytest.fixture
def importer(store: ModelStore) -> Puller:
    return Puller(store, resolve=unreachable)


def test_a_file_is_linked_under_a_name_made_from_its_own(
    importer: Puller, store: ModelStore, own: Path, goods: Goods
) -> None:
    seen: list[int] = []
    counting = dataclasses.replace(importer, progress=lambda done_bytes, total_bytes: seen.append(done_bytes))
    assert counting.pull(str(own)) == ModelRef("my-model_q4", sha256(goods.gguf))
    assert store.path("my-model_q4").samefile(own)
    assert seen[-1] == len(goods.gguf)


def test_a_file_of_a_disk_that_cannot_link_is_copied(
    importer: Puller, store: ModelStore, own: Path, goods: Goods, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", no_link)
    importer.pull(str(own))
    assert not store.path("my-model_q4").samefile(own)
    assert store.path("my-model_q4").read_bytes() == goods.gguf


def test_an_import_is_repeated_by_name_from_where_it_came(
    importer: Puller, store: ModelStore, own: Path, goods: Goods
) -> None:
    importer.pull(str(own))
    store.file_of("my-model_q4").unlink()
    store.file_of("my-model_q4").write_bytes(b"GGUF, cut")
    with pytest.raises(ModelCorrupt, match=r"mesh pull .*My Model_Q4\.GGUF"):
        store.path("my-model_q4")
    importer.pull("my-model_q4")
    assert store.path("my-model_q4").read_bytes() == goods.gguf


def test_importing_the_same_file_twice_changes_nothing(importer: Puller, own: Path) -> None:
    assert importer.pull(str(own)) == importer.pull(str(own))


def test_another_file_of_the_same_name_is_refused_while_the_first_is_whole(
    importer: Puller, store: ModelStore, own: Path, tmp_path: Path
) -> None:
    reference = importer.pull(str(own))
    other = tmp_path / "elsewhere" / own.name
    other.parent.mkdir()
    other.write_bytes(b"GGUF of another kind")
    with pytest.raises(BadSetting, match="another model 'my-model_q4' is already here"):
        importer.pull(str(other))
    assert store.whole("my-model_q4") == reference


def test_a_file_cannot_take_the_folder_of_a_model_of_the_catalogue(
    importer: Puller, store: ModelStore, own: Path
) -> None:
    with pytest.raises(BadSetting, match="'fat-1b' would take the place of 'fat:1b'"):
        importer.pull(str(own.rename(own.with_name("fat-1b.gguf"))))
    assert not store.data_dir.exists()


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 something else"])
def test_what_is_no_gguf_is_refused_and_touches_no_disk(
    importer: Puller, store: ModelStore, own: Path, content: bytes
) -> None:
    own.write_bytes(content)
    with pytest.raises(ModelCorrupt, match="no GGUF file"):
        importer.pull(str(own))
    assert not store.data_dir.exists()


@pytest.mark.parametrize("wanted", ["missing.gguf", "hf:owner/x.gguf", "hf:a/b/c.bin", "hf:a/b/../c.gguf"])
def test_what_cannot_be_had_is_one_line(importer: Puller, wanted: str) -> None:
    with pytest.raises(BadSetting, match=r"no file"):
        importer.pull(wanted)


@pytest.mark.parametrize(
    "wanted", ["../up", "/etc/shadow-of-nothing", "a b", "-x", "", "x" * 5000, ".", "~nobody-here/x", "a\0b"]
)
def test_what_cannot_be_a_name_is_unknown(importer: Puller, store: ModelStore, wanted: str) -> None:
    with pytest.raises(UnknownModel, match="mesh models"):
        importer.pull(wanted)
    assert not store.data_dir.exists()


def test_a_file_of_another_kind_is_refused_by_its_name(importer: Puller, own: Path) -> None:
    with pytest.raises(BadSetting, match=r"is not a \.gguf file"):
        importer.pull(str(own.rename(own.with_name("weights.bin"))))


class FakeHub(types.ModuleType):
    """The two functions of huggingface_hub that are used, on the test's own server."""

    def __init__(self, url: str, etag: str | None) -> None:
        super().__init__("huggingface_hub")
        self.url, self.etag = url, etag
        self.asked: list[tuple[str, str]] = []

    def hf_hub_url(self, repo_id: str, filename: str) -> str:
        self.asked.append((repo_id, filename))
        return self.url

    def get_hf_file_metadata(self, url: str) -> types.SimpleNamespace:
        if self.etag == "broken":
            raise RuntimeError("404 Client Error\nand much more")
        return types.SimpleNamespace(location=url, etag=self.etag, size=None)


def use_hub(monkeypatch: pytest.MonkeyPatch, server: FileServer, etag: str | None) -> FakeHub:
    hub = FakeHub(server.url, etag)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub


def test_a_file_of_the_hub_is_pulled_by_its_digest_there(
    importer: Puller, store: ModelStore, server: FileServer, goods: Goods, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = goods.gguf
    hub = use_hub(monkeypatch, server, sha256(goods.gguf))
    assert importer.pull("hf:Owner/Some-Repo/sub/Big.gguf") == ModelRef("big", sha256(goods.gguf))
    assert hub.asked == [("Owner/Some-Repo", "sub/Big.gguf")]
    assert store.path("big").read_bytes() == goods.gguf
    assert [path.suffix for path in store.partial_folder.iterdir()] == [".lock"]
    server.status = 500
    assert importer.pull("hf:Owner/Some-Repo/sub/Big.gguf").name == "big"


def test_a_pull_that_waited_asks_the_hub_nothing_when_the_model_came_meanwhile(
    importer: Puller, store: ModelStore, server: FileServer, goods: Goods, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = use_hub(monkeypatch, server, sha256(goods.gguf))
    store.partial_folder.mkdir(parents=True)
    other = try_lock(store.partial_folder / "big.lock")
    assert other is not None

    def finish_the_other(line: str) -> None:
        finished = store.partial_folder / "big.gguf"
        finished.write_bytes(goods.gguf)
        store.put("big", finished, sha256(goods.gguf), "hf:a/b/big.gguf")
        other.release()

    waiting = dataclasses.replace(importer, notice=finish_the_other)
    assert waiting.pull("hf:a/b/big.gguf") == ModelRef("big", sha256(goods.gguf))
    assert hub.asked == []


@pytest.mark.parametrize(
    ("etag", "line"), [(None, "names no sha256"), ("abc", "names no sha256"), ("broken", "404 Client Error$")]
)
def test_a_hub_that_does_not_say_is_one_line(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, etag: str | None, line: str
) -> None:
    use_hub(monkeypatch, server, etag)
    with pytest.raises(PullFailed, match=line):
        resolve_hub(HubFile("a/b", "c.gguf"))


def test_without_the_extra_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadSetting, match=r"pip install 'ambient-mesh\[hub\]'"):
        resolve_hub(HubFile("a/b", "c.gguf"))
