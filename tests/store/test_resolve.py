"""The real pip, on indexes of this machine, says where a wheel lies, and fetches nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mesh.errors import PullFailed
from mesh.store import resolve
from mesh.store.pip_link import OTHER_PIP
from mesh.store.pull import Puller
from mesh.store.resolve import resolve_wheel
from mesh.store.shelf import ModelStore
from tests.store.conftest import NAME, Goods
from tests.store.server import FileServer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch, server: FileServer, tmp_path: Path) -> None:
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.port}/simple")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    server.pages["/simple/fat/"] = (
        b'<!DOCTYPE html><html><body><a href="/files/fat-1.0-py3-none-any.whl">fat-1.0-py3-none-any.whl</a>'
        b'<a href="/files/fat-2.0-py3-none-any.whl">fat-2.0-py3-none-any.whl</a></body></html>'
    )


def test_a_model_comes_from_the_users_own_index_and_is_fetched_once(
    store: ModelStore, server: FileServer, goods: Goods
) -> None:
    Puller(store).pull(NAME)
    assert store.path(NAME).read_bytes() == goods.gguf
    files = [asked for asked in server.asked if asked.path.startswith("/files/")]
    assert [asked.path for asked in files] == ["/files/fat-1.0-py3-none-any.whl"]


def test_a_folder_of_links_counts_as_an_index(
    goods: Goods, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fat-1.0-py3-none-any.whl").write_bytes(goods.wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert resolve_wheel(goods.wheel_file()).local_path == tmp_path / "fat-1.0-py3-none-any.whl"
    assert server.asked == []


def test_an_index_without_the_package_is_one_line_that_names_it(goods: Goods, server: FileServer) -> None:
    server.pages, server.status = {}, 404
    with pytest.raises(
        PullFailed, match=r"pip finds no fat 1\.0 .*/simple/fat/: 404 .*pip config list"
    ) as raised:
        resolve_wheel(goods.wheel_file())
    assert "\n" not in str(raised.value)


def test_a_pip_of_another_make_is_asked_by_its_public_interface(
    goods: Goods, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_pip(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        if module == "mesh.store.pip_link":
            return subprocess.CompletedProcess(arguments, OTHER_PIP)
        return run(module, *arguments)

    run = resolve._run
    monkeypatch.setattr(resolve, "_run", other_pip)
    assert resolve_wheel(goods.wheel_file()).url == server.url
