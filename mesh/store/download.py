"""Downloads that go on where they were cut.

Owns one HTTP(S) download into a partial file. What can go wrong, and what is done:
- the connection breaks: what came is kept, and asked on from there at once while every try brings something;
- it breaks for good: PullFailed; the partial file stays for the next pull;
- the server ignores Range (200), or has another file by now (If-Range): begin again from 0;
- the file was already complete (416): straight to the check;
- the digest is not the expected one: the partial file is removed, for no resuming can mend it.
Must not know models: a file is an address and a digest.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from mesh.errors import PullFailed
from mesh.store.files import Progress, sha256_of, size_or_zero, write_atomically
from mesh.store.remote import Remote
from mesh.types import Digest

NUM_TRIES = 5
"""Connections that one call opens while each brings something."""

STALL_S = 60.0
"""A server that sends nothing for so long counts as a broken connection."""

READ_BYTES = 1 << 16


class _Cut(Exception):
    """The connection broke; says how."""


def download(remote: Remote, partial: Path, progress: Progress) -> None:
    """Make `partial` the whole file, with the expected digest.

    Goes on from what is there. Callers exclude each other by a lock. Raises PullFailed; OSError is the
    disk's. Interrupted at any point, the next call goes on.
    """
    for num_left in reversed(range(NUM_TRIES)):
        before_bytes = size_or_zero(partial)
        try:
            _resume(remote, partial, progress)
            break
        except _Cut as cut:
            if num_left == 0 or size_or_zero(partial) <= before_bytes:
                raise _broken_off(remote, partial, cut) from cut
    _check(remote, partial)


def discard(partial: Path) -> None:
    """Remove a partial file and what was written down about it."""
    partial.unlink(missing_ok=True)
    _note_path(partial).unlink(missing_ok=True)


def is_complete(partial: Path, size_bytes: int, sha256: Digest) -> bool:
    """Whether an earlier call already brought the whole file, so that nobody needs to be asked."""
    return size_or_zero(partial) == size_bytes and sha256_of(partial) == sha256


def _resume(remote: Remote, partial: Path, progress: Progress) -> None:
    try:
        response = _open(remote, size_or_zero(partial), _validator(remote, partial))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise _refused(remote, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(_reason(error)) from error
    with response:
        _receive(response, remote, partial, progress)


def _open(remote: Remote, start: int, validator: str | None) -> http.client.HTTPResponse:
    request = urllib.request.Request(remote.url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        if validator is not None:
            request.add_header("If-Range", validator)
    # Reading the system's certificates takes 60 ms; without TLS nobody needs them.
    context = _tls(remote.certificates) if request.type == "https" else None
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=STALL_S, context=context)
    return response


def _receive(response: http.client.HTTPResponse, remote: Remote, partial: Path, progress: Progress) -> None:
    start = _start_of(response)
    if start not in (0, size_or_zero(partial)):
        raise PullFailed(f"{remote.host} answered with another part of {remote.name} than was asked for")
    length = response.getheader("Content-Length")
    total_bytes = remote.size_bytes if length is None else start + int(length)
    _note(remote, partial, response.getheader("ETag"))
    # Unbuffered: what was received survives a kill.
    with partial.open("ab" if start else "wb", buffering=0) as target:
        done_bytes = _pour(response, target, start, total_bytes, progress)
    if length is not None and done_bytes < start + int(length):
        raise _Cut("the server closed the connection")


def _pour(
    response: http.client.HTTPResponse,
    target: BinaryIO,
    done_bytes: int,
    total_bytes: int | None,
    progress: Progress,
) -> int:
    while chunk := _read(response):
        target.write(chunk)
        done_bytes += len(chunk)
        progress(done_bytes, total_bytes)
    return done_bytes


def _read(response: http.client.HTTPResponse) -> bytes:
    """Return what has come, at least a byte, or nothing at the end; read1 loses nothing to a reset."""
    try:
        return response.read1(READ_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(_reason(error)) from error


def _start_of(response: http.client.HTTPResponse) -> int:
    """Return the position of the body's first byte (RFC 9110, 14.4)."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.getheader("Content-Range") or "")
    return int(found[1]) if found else 0


def _check(remote: Remote, partial: Path) -> None:
    if sha256_of(partial) != remote.sha256:
        discard(partial)
        raise PullFailed(
            f"what {remote.host} sent as {remote.name} is not the expected file (its sha256 differs); "
            "it was thrown away, pull again or from another network"
        )


def _tls(certificates: str | None) -> ssl.SSLContext:
    """Trust the system's certificates (SSL_CERT_FILE names others) and those that pip is told to trust."""
    context = ssl.create_default_context()
    for extra in {certificates, os.environ.get("PIP_CERT"), os.environ.get("REQUESTS_CA_BUNDLE")} - {
        None,
        "",
    }:
        if extra is not None and Path(extra).is_file():
            context.load_verify_locations(cafile=extra)
    return context


def _note_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _note(remote: Remote, partial: Path, etag: str | None) -> None:
    """Write down which version of the file the partial one is a part of."""
    write_atomically(_note_path(partial), json.dumps({"url": remote.url, "etag": etag}).encode())


def _validator(remote: Remote, partial: Path) -> str | None:
    """Return the ETag to resume by: only a strong one of the same address will do (RFC 9110, 13.1.5)."""
    try:
        note = json.loads(_note_path(partial).read_bytes())
    except (OSError, ValueError):
        return None
    etag = note.get("etag") if isinstance(note, dict) and note.get("url") == remote.url else None
    return etag if isinstance(etag, str) and etag.startswith('"') else None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _refused(remote: Remote, error: urllib.error.HTTPError) -> PullFailed:
    return PullFailed(f"{remote.host} refused {remote.name}: {error.code} {error.reason}; pull again later")


def _broken_off(remote: Remote, partial: Path, cut: _Cut) -> PullFailed:
    done = f"{size_or_zero(partial) / 1e6:,.1f} MB"
    total = f" of {remote.size_bytes / 1e6:,.1f} MB" if remote.size_bytes else ""
    return PullFailed(
        f"the download of {remote.name} from {remote.host} broke off after {done}{total} ({cut}); "
        "pull again: it goes on from there"
    )
