"""Where the models of this device lie, and whether they are whole.

Owns the folder `models/` of the data directory: `<model>/model.gguf`, or `<model>/model/` for one that is a
folder of files, with its receipt beside it, and `.partial/` for what is still coming. Must not know where
models come from or what is inside them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mesh.errors import MeshError, ModelCorrupt, ModelNotPulled
from mesh.store.catalogue import Catalogue, load_catalogue, unknown_model
from mesh.store.files import remove, replace_durably, sha256_of
from mesh.store.folder import folder_digest, hash_members, members
from mesh.store.names import folder_name, is_name
from mesh.store.receipt import Receipt, read_receipt, write_receipt
from mesh.types import Digest, ModelRef


@dataclass(frozen=True, slots=True)
class Listing:
    """One model as `mesh models` shows it."""

    name: str
    about: str
    size_bytes: int
    digest: Digest
    path: Path | None
    """Where its file or folder lies; None where it is not pulled."""


@dataclass(frozen=True, slots=True)
class ModelStore:
    """The models on this device's disk. Looking makes no folder; only a pull does."""

    data_dir: Path
    catalogue: Catalogue = field(default_factory=load_catalogue)

    @property
    def folder(self) -> Path:
        """Where the models lie."""
        return self.data_dir / "models"

    @property
    def partial_folder(self) -> Path:
        """Where unfinished pulls lie, on the same disk as the models."""
        return self.folder / ".partial"

    def file_of(self, name: str) -> Path:
        """Where a model's file lies or would lie; raises BadSetting for what cannot be a name."""
        return self.folder / folder_name(name) / "model.gguf"

    def folder_of(self, name: str) -> Path:
        """Where a model lies or would lie that is a folder of files; raises as `file_of` does."""
        return self.folder / folder_name(name) / "model"

    def models(self) -> tuple[ModelRef, ...]:
        """The models whose file is there in its full size, by name.

        Cheap enough for every heartbeat: it reads receipts and sizes. `path` looks harder.
        """
        return tuple(ModelRef(receipt.name, receipt.sha256) for receipt in self._receipts())

    def listing(self) -> tuple[Listing, ...]:
        """Every model that is here or in the catalogue, by name."""
        here = {receipt.name: self._listing(receipt) for receipt in self._receipts()}
        known = {
            entry.name: Listing(entry.name, entry.about, entry.size_bytes, entry.sha256, None)
            for entry in self.catalogue.entries
        }
        return tuple(model for _, model in sorted((known | here).items()))

    def path(self, name: str) -> Path:
        """Return a model's file or folder, checked as by `verified`."""
        return self.verified(name)[0]

    def verified(self, name: str) -> tuple[Path, ModelRef]:
        """Return a model's file or folder, checked to be the one that was pulled, and what it is.

        Raises UnknownModel; ModelNotPulled naming the command that gets it; ModelCorrupt when the file is
        truncated or altered. Where only its time changed the whole file is hashed, once.
        """
        receipt = self.receipt(name)
        if receipt is None:
            raise self._absent(name)
        self._verify(receipt)
        return self._path_of(receipt), ModelRef(receipt.name, receipt.sha256)

    def by_digest(self, digest: Digest) -> Path:
        """Return the file of that content, checked as by `path`; raise ModelNotPulled where none is here."""
        for model in self.models():
            if model.digest == digest:
                return self.path(model.name)
        known = (entry.name for entry in self.catalogue.entries if entry.sha256 == digest)
        name = next(known, None)
        if name is not None:
            raise self._absent(name)
        raise ModelNotPulled(f"no model with sha256 {digest[:12]}... is on this device; pull it here too")

    def receipt(self, name: str) -> Receipt | None:
        """What was written down about a model, whether or not its file is still whole."""
        if not is_name(name):
            return None
        receipt = read_receipt(self._receipt_path(name))
        return receipt if receipt is not None and receipt.name == name else None

    def occupant(self, name: str) -> str | None:
        """Name of the model that has the folder which this name would get, itself included."""
        receipt = read_receipt(self._receipt_path(name))
        if receipt is not None:
            return receipt.name
        same = (e.name for e in self.catalogue.entries if folder_name(e.name) == folder_name(name))
        return next(same, None)

    def whole(self, name: str) -> ModelRef | None:
        """The model if it is here and passes the check of `verified`."""
        try:
            return self.verified(name)[1]
        except MeshError:
            return None

    def put(self, name: str, finished: Path, digest: Digest, source: str) -> ModelRef:
        """Take over a finished file or folder of known content under its final name, in place of any other.

        It must lie on the store's own disk. Killed at any point, the final name holds the old file,
        the new one or none, and never a receipt that belongs to another file.
        """
        file, folder = self.file_of(name), self.folder_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._receipt_path(name).unlink(missing_ok=True)
        remove(folder)  # no folder can be replaced in one step
        if not finished.is_dir():
            replace_durably(finished, file)
            return self.adopt(name, digest, source)
        files = members(finished)
        replace_durably(finished, folder)
        remove(file)
        return self._write_receipt(Receipt(name, digest, *_measure(folder, files), source, files))

    def adopt(self, name: str, digest: Digest, source: str) -> ModelRef:
        """Write the receipt of a file that already lies under its final name with that content."""
        return self._write_receipt(Receipt(name, digest, *_measure(self.file_of(name), ()), source))

    def _write_receipt(self, receipt: Receipt) -> ModelRef:
        write_receipt(self._receipt_path(receipt.name), receipt)
        return ModelRef(receipt.name, receipt.sha256)

    def _path_of(self, receipt: Receipt) -> Path:
        return self.folder_of(receipt.name) if receipt.files else self.file_of(receipt.name)

    def _receipt_path(self, name: str) -> Path:
        return self.folder / folder_name(name) / "receipt.json"

    def _receipts(self) -> Iterator[Receipt]:
        """Receipts of files in full size, by name; a folder moved by hand under another name is left out."""
        found = (read_receipt(path) for path in self.folder.glob("*/receipt.json"))
        at_home = [receipt for receipt in found if receipt is not None and is_name(receipt.name)]
        for receipt in sorted(at_home, key=lambda receipt: receipt.name):
            if self.receipt(receipt.name) == receipt and self._has_full_size(receipt):
                yield receipt

    def _has_full_size(self, receipt: Receipt) -> bool:
        try:
            return _measure(self._path_of(receipt), receipt.files)[0] == receipt.size_bytes
        except OSError:
            return False

    def _listing(self, receipt: Receipt) -> Listing:
        entry = self.catalogue.find(receipt.name)
        about = f"imported from {receipt.source}" if entry is None else entry.about
        return Listing(receipt.name, about, receipt.size_bytes, receipt.sha256, self._path_of(receipt))

    def _absent(self, name: str) -> MeshError:
        if self.catalogue.find(name) is not None:
            return ModelNotPulled(f"'{name}' is not on this device; get it with: mesh pull {name}")
        here = [model.name for model in self.models()]
        return unknown_model(name, here + [entry.name for entry in self.catalogue.entries])

    def _verify(self, receipt: Receipt) -> None:
        path, again = self._path_of(receipt), f"get it again with: mesh pull {receipt.source}"
        what = f"the {'folder' if receipt.files else 'file'} of '{receipt.name}'"
        try:
            size_bytes, mtime_ns = _measure(path, receipt.files)
        except OSError:
            raise ModelNotPulled(f"{what} is gone; {again}") from None
        if size_bytes < receipt.size_bytes:
            sizes = f"{size_bytes} of {receipt.size_bytes} bytes"
            raise ModelCorrupt(f"{what} is truncated ({sizes}); {again}")
        if mtime_ns == receipt.mtime_ns and size_bytes == receipt.size_bytes:
            return
        if _digest(path, receipt.files) != receipt.sha256:
            raise ModelCorrupt(f"{what} was altered after it was pulled; {again}")
        self._refresh(receipt, mtime_ns)

    def _refresh(self, receipt: Receipt, mtime_ns: int) -> None:
        # On a disk that may only be read the check is simply made again next time.
        with contextlib.suppress(OSError):
            refreshed = dataclasses.replace(receipt, mtime_ns=mtime_ns)
            write_receipt(self._receipt_path(receipt.name), refreshed)


def _measure(path: Path, files: tuple[str, ...]) -> tuple[int, int]:
    """Return a model's bytes and time of change in ns; of a folder the sums, so that each file counts."""
    facts = [part.stat() for part in ([path / name for name in files] or [path])]
    return sum(fact.st_size for fact in facts), sum(fact.st_mtime_ns for fact in facts)


def _digest(path: Path, files: tuple[str, ...]) -> Digest:
    return folder_digest(hash_members(path, files)) if files else sha256_of(path)
