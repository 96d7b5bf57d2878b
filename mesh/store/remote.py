"""A file somewhere else: its address, and how to know that what came is it.

Owns the value that resolvers hand to the downloader. Must not know how either works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mesh.types import Digest


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download; its digest is known before the first byte comes."""

    url: str
    sha256: Digest
    size_bytes: int | None = None
    certificates: str | None = None
    """A file of certificates to trust beside the system's."""

    @property
    def name(self) -> str:
        """The file's own name, for people; addresses may carry secrets behind it."""
        return Path(urlsplit(self.url).path).name

    @property
    def host(self) -> str:
        """Who serves it, for people."""
        return urlsplit(self.url).hostname or "this machine"

    @property
    def local_path(self) -> Path | None:
        """Where the file lies if the address is one of this machine's own disk (`file:`)."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
