"""A server on loopback for tests of upstreams, and what servers like OpenAI's say.

Owns the little of HTTP that it takes. Must not know who asks it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What came to a server."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, object]:
        content = json.loads(self.body)
        assert isinstance(content, dict)
        return content


Serve = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HttpServer:
    """A server on loopback that reads one request a connection, has a test answer it, and hangs up."""

    def __init__(self, serve: Serve) -> None:
        self.requests: list[Request] = []
        self.num_open = 0
        self.received_bytes = 0
        """Of bodies."""
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            await until_quiet(self)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.splitlines()
            headers = {name.lower(): value.strip() for name, _, value in (at.partition(":") for at in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Request(line, headers, body)
            self.requests.append(request)
            self.received_bytes += len(body)
            await self._serve(request, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client hung up
        finally:
            writer.close()
            self.num_open -= 1


class Busy(Protocol):
    """What counts what it is at."""

    num_open: int


async def until_quiet(server: Busy) -> None:
    """Wait until a server is at nothing any more."""
    await until(lambda: not server.num_open)


async def until(holds: Callable[[], object]) -> None:
    """Give others their turns until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for happens behind a socket
            await asyncio.sleep(0)


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(value: object) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def delta(**fields: str) -> bytes:
    """One event that adds to an answer."""
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def ending(reason: str = "stop") -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage(num_prompt_tokens: int, num_tokens: int) -> bytes:
    told = {"prompt_tokens": num_prompt_tokens, "completion_tokens": num_tokens}
    return event({"choices": [], "usage": told})


def plain(status: str, body: object, headers: str = "") -> bytes:
    """A whole response in JSON."""
    content = json.dumps(body).encode()
    fixed = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"HTTP/1.1 {status}\r\n{fixed}{headers}\r\n".encode() + content
