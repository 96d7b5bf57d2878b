"""llama.cpp's tools, built from the source package of `llama-cpp-python`; the peer of `beside_llama_cpp`.

Run `python -m benchmarks.llama_cpp` to build ahead: about five minutes on two cores. Owns the pinned version,
where the build lies (the user's cache, outside the tree) and how it is configured. Nothing is fetched or
built when this is imported. Must not know what is measured.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import platformdirs

from mesh.errors import MeshError

VERSION = "0.3.36"
_PACKAGE = "llama-cpp-python"
_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
_VENDORED = f"llama_cpp_python-{VERSION}/vendor/llama.cpp/"
_TARGETS = ("ggml-rpc-server", "llama-bench", "llama-batched-bench")
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_RPC=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    # What none of the three tools needs; the prebuilt page would be downloaded in the middle of the build.
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)
_LAST_WORDS = 3  # lines of a failed command that are shown


class BuildFailed(Exception):
    """The tools could not be fetched or built; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """The tools on this disk."""

    folder: Path

    @property
    def rpc_server(self) -> Path:
        """A device that computes for others."""
        return self._tool("ggml-rpc-server")

    @property
    def bench(self) -> Path:
        """Measures one user."""
        return self._tool("llama-bench")

    @property
    def batched_bench(self) -> Path:
        """Measures several users at once."""
        return self._tool("llama-batched-bench")

    @property
    def is_built(self) -> bool:
        """Whether all of them are there."""
        return all(self._tool(name).is_file() for name in _TARGETS)

    def _tool(self, name: str) -> Path:
        return self.folder / "build" / "bin" / name


def cached() -> LlamaCpp:
    """The tools where they lie, or would lie once built."""
    return LlamaCpp(cache_folder() / f"{_PACKAGE}-{VERSION}")


def cache_folder() -> Path:
    """What benchmarks keep outside the tree between runs."""
    return platformdirs.user_cache_path("ambient-mesh") / "benchmarks"


def built() -> LlamaCpp:
    """The tools, fetched and built where they are not there; raises BuildFailed with one clear line."""
    tools = cached()
    if tools.is_built:
        return tools
    _check_programs()
    source = tools.folder / "source"
    if not (source / "CMakeLists.txt").is_file():
        _fetch(source)
    build = tools.folder / "build"
    click.echo(f"building llama.cpp in {build}, about five minutes on two cores")
    _run(["cmake", "-S", str(source), "-B", str(build), *_OPTIONS])
    jobs = str(os.cpu_count() or 1)
    _run([*_politely(), "cmake", "--build", str(build), "-j", jobs, "--target", *_TARGETS])
    if not cached().is_built:
        raise BuildFailed(f"the build of {_PACKAGE} {VERSION} made no tools; delete {build} and try again")
    return tools


def _check_programs() -> None:
    if shutil.which("cmake") is None:
        raise BuildFailed("llama.cpp cannot be built here: install cmake, or measure the mesh alone")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise BuildFailed("llama.cpp cannot be built here: install a C++ compiler, or measure the mesh alone")


def _politely() -> Sequence[str]:
    return ("nice",) if shutil.which("nice") else ()


def _fetch(source: Path) -> None:
    """Unpack the vendored tree to `source`; killed at any point it leaves none or the whole."""
    source.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=source.parent) as scratch:
        package = _download(Path(scratch))
        if hashlib.sha256(package.read_bytes()).hexdigest() != _SHA256:
            raise BuildFailed(f"{package.name} is not the file that was pinned; try again, or pin another")
        _unpack(package, Path(scratch) / "tree")
        (Path(scratch) / "tree").rename(source)


def _download(folder: Path) -> Path:
    click.echo(f"fetching the source of {_PACKAGE} {VERSION}")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run([*pip, "--no-binary", _PACKAGE, "--dest", str(folder), f"{_PACKAGE}=={VERSION}"])
    return next(folder.glob("*.tar.gz"))


def _unpack(package: Path, tree: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            if member.name.startswith(_VENDORED):
                member.name = member.name.removeprefix(_VENDORED)
                archive.extract(member, tree, filter="data")


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_WORDS:])
        raise BuildFailed(f"{words[0]} failed with code {done.returncode}: {said or 'it said nothing'}")


def main() -> None:
    """Build, and say where."""
    try:
        click.echo(f"llama.cpp's tools are in {built().bench.parent}")
    except MeshError as error:
        click.echo(f"mesh: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
