"""A file server for tests: serves one content, as badly as it is told to, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Asked:
    """One request, and the run of the content that was sent for it."""

    path: str
    range: str | None
    if_range: str | None
    sent: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class FileServer:
    content: bytes
    etag: str | None = '"one"'
    honours_range: bool = True
    says_length: bool = True
    status: int = 200
    num_bytes_until_cut: list[int] = field(default_factory=list)
    """For each of the next requests, how many bytes it sends before the connection breaks."""
    gate: threading.Event | None = None
    """The second half of a body waits for it."""
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files/fat-1.0-py3-none-any.whl"

    @property
    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.asked]

    @property
    def sent(self) -> list[tuple[int, int]]:
        return [asked.sent for asked in self.asked]


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(server, self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _answer(server: FileServer, request: BaseHTTPRequestHandler) -> None:
    asked = Asked(request.path, request.headers["Range"], request.headers["If-Range"])
    server.asked.append(asked)
    if request.path in server.pages:
        _send(request, 200, {"Content-Type": "text/html"}, server.pages[request.path])
    elif server.status != 200 or not request.path.startswith("/files/"):
        _send(request, server.status if server.status != 200 else 404, {}, b"no")
    else:
        _send_content(server, request, asked)


def _send_content(server: FileServer, request: BaseHTTPRequestHandler, asked: Asked) -> None:
    start = _start(server, asked)
    if start is not None and start >= len(server.content):
        _send(request, 416, {}, b"")
        return
    body = server.content[start or 0 :]
    headers = {} if server.etag is None else {"ETag": server.etag}
    if start is not None:
        headers["Content-Range"] = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
    if server.says_length:
        headers["Content-Length"] = str(len(body))
    limit = server.num_bytes_until_cut.pop(0) if server.num_bytes_until_cut else len(body)
    asked.sent = (start or 0, (start or 0) + min(limit, len(body)))
    _send(request, 200 if start is None else 206, headers, body[:limit], server.gate)


def _start(server: FileServer, asked: Asked) -> int | None:
    if asked.range is None or not server.honours_range:
        return None
    if asked.if_range is not None and asked.if_range != server.etag:
        return None
    return int(asked.range.removeprefix("bytes=").removesuffix("-"))


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    gate: threading.Event | None = None,
) -> None:
    request.send_response(status)
    for key, value in headers.items():
        request.send_header(key, value)
    request.end_headers()
    try:
        request.wfile.write(body[: len(body) // 2])
        request.wfile.flush()
        if gate is not None:
            gate.wait()
        request.wfile.write(body[len(body) // 2 :])
    except OSError:
        pass  # the client was killed
