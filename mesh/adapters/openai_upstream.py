"""The Upstream port over HTTP: servers that answer as OpenAI's does (llama-server, Ollama, vLLM, clouds).

Owns the requests and the connections. Must not know when a server is asked, nor where its settings come from.
How what it says is read is the business of `mesh.adapters.openai_answer`, and what each thing that goes wrong
is called, of `mesh.adapters.openai_faults`.

What makes it harder than it looks:
- A redirect would carry key and question to somebody nobody chose, so none is followed. Neither proxies nor
  files of passwords are taken from the environment, and cookies are not kept.
- A question has a connection of its own, which ends with it: none is used that died unseen, and who gives up
  frees the server. That costs a handshake, little beside an answer.

Source: https://platform.openai.com/docs/api-reference/chat/streaming.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx2
import msgspec

from mesh.adapters.openai_answer import Answer, message_in, models_in
from mesh.adapters.openai_faults import Faults
from mesh.adapters.server_sent_events import Event, EventDecoder
from mesh.errors import BadSetting, MeshError, UpstreamBroken, UpstreamUnreachable
from mesh.upstream import UpstreamCard, UpstreamPiece, UpstreamQuestion, UpstreamSettings

MAX_EVENT_BYTES = 1 << 20
"""Of one line or event; an event carries a few tokens, so this is far more than any honest one."""

_MAX_ERROR_BYTES = 1 << 16  # of a refusal's body that is read
_MAX_LIST_BYTES = 4 << 20  # of a list of models: those of the largest resellers have half a megabyte
_SEED_MASK = 2**31 - 1  # the largest that every server takes: some read it into a signed 32-bit number


class OpenAiUpstream:
    """The Upstream port for one server."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Connect to nothing yet; raise BadSetting for an address that no connection can be made to."""
        self._settings = settings
        self._faults = Faults(settings)
        try:
            httpx2.URL(settings.address)
        except httpx2.InvalidURL as error:
            raise BadSetting(f"the address of the upstream '{settings.card.name}' is no URL") from error
        self._client = _client(settings)

    @property
    def card(self) -> UpstreamCard:
        """What others may know of it."""
        return self._settings.card

    async def chat(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
        """Ask, and yield the answer as it comes; see the port."""
        body = _body(self._settings, question)
        answer = Answer(self._faults)
        async with self._asked("POST", "chat/completions", body) as response:
            await self._must_stream(response)
            async with aclosing(self._events(response)) as events:
                try:
                    async for event in events:
                        for piece in answer.take(event):
                            yield piece
                        if answer.is_done:
                            break
                except UpstreamBroken:
                    if not answer.is_complete:  # else only what it counted is missing
                        raise
        yield answer.end()

    async def models(self) -> tuple[str, ...]:
        """Ask for the list of models; see the port."""
        async with self._asked("GET", "models") as response:
            with self._faults.mapped("in mid-answer"):
                content = await _beginning(response, _MAX_LIST_BYTES)
        return models_in(content, self._faults)

    async def is_reachable(self) -> bool:
        """Ask for the list of models, whatever comes of it; see the port."""
        try:
            await self.models()
        except (UpstreamUnreachable, UpstreamBroken):
            return False
        except MeshError:
            return True
        return True

    async def close(self) -> None:
        """Close the client; see the port."""
        with suppress(httpx2.HTTPError, OSError):
            await self._client.aclose()

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: bytes | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; give its response while it comes, if it is a good one, and close it in any case."""
        if self._client.is_closed:
            raise self._faults.unreachable("it was closed")
        headers = {"Content-Type": "application/json"} if body else None
        url = f"{self._settings.address}/{path}"
        request = self._client.build_request(method, url, content=body, headers=headers)
        with self._faults.mapped():
            response = await self._client.send(request, stream=True)
        try:
            if not response.is_success:
                raise self._faults.of_status(response, await _said_in(response))
            yield response
        finally:
            with suppress(httpx2.HTTPError, OSError):
                await response.aclose()

    async def _must_stream(self, response: httpx2.Response) -> None:
        if _is_compressed(response):
            raise self._faults.broken("compresses its stream though it was asked not to")
        if response.headers.get("content-type", "").startswith("application/json"):
            raise self._faults.broken("did not answer with a stream", await _said_in(response))

    async def _events(self, response: httpx2.Response) -> AsyncGenerator[Event]:
        decoder = EventDecoder()
        with self._faults.mapped("in mid-answer"):
            async with aclosing(response.aiter_raw()) as chunks:
                async for chunk in chunks:
                    for event in decoder.feed(chunk):
                        yield event
                    if decoder.num_held_bytes > MAX_EVENT_BYTES:
                        raise self._faults.broken(f"sent an event of more than {MAX_EVENT_BYTES} bytes")
        for event in decoder.feed(b"\n\n"):  # the last may lack its end; cut in two, it cannot be read
            yield event


async def _beginning(response: httpx2.Response, max_bytes: int) -> bytes:
    content = bytearray()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > max_bytes:
                break
    return bytes(content[:max_bytes])


async def _said_in(response: httpx2.Response) -> str:
    """Return the message of a body; none where it cannot be had."""
    if _is_compressed(response):
        return ""
    try:
        return message_in(await _beginning(response, _MAX_ERROR_BYTES))
    except (httpx2.HTTPError, OSError):
        return ""


def _is_compressed(response: httpx2.Response) -> bool:
    return bool(response.headers.get("content-encoding", "identity") != "identity")


def _client(settings: UpstreamSettings) -> httpx2.AsyncClient:
    headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "ambient-mesh"}
    if settings.key:
        headers["Authorization"] = f"Bearer {settings.key.reveal()}"
    is_plain = urlsplit(settings.address).scheme == "http"
    return httpx2.AsyncClient(
        headers=headers,
        # Without TLS the system's certificates need not be read; a context without any trusts nobody.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else True,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # deadlines are the caller's
        limits=httpx2.Limits(
            max_connections=None, max_keepalive_connections=0
        ),  # nobody waits for a connection
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


def _body(settings: UpstreamSettings, question: UpstreamQuestion) -> bytes:
    """Write a request; raise UnknownModel for a model that is not on the card."""
    sampling, dialect = question.sampling, settings.dialect
    fields: dict[str, object] = {
        "model": settings.card.model(question.model).remote_name,
        "messages": [{"role": turn.role, "content": turn.content} for turn in question.messages],
        dialect.max_tokens_name: question.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed & _SEED_MASK,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    kept = {name: value for name, value in fields.items() if name not in dialect.left_out}
    return msgspec.json.encode(kept)
