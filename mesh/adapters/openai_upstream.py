"""The Upstream port over HTTP: servers that answer as OpenAI's does (llama-server, Ollama, vLLM, clouds).

Owns the requests, the stream of events that comes back, and what each thing that goes wrong is called. Must
not know when a server is asked, nor where its settings come from.

What makes it harder than it looks:
- Whether an answer is complete only its `finish_reason` or `[DONE]` says. A connection that ends, even in
  good order, says nothing: proxies and TLS without a proper end look the same.
- Events are cut anywhere by the network, in the middle of a character too. Bytes are split at line ends
  first, which no other character of UTF-8 contains, and decoded line by line.
- Errors come as a status, as JSON with status 200, or as an event in mid-stream; their text may hold the key.
- A redirect would carry key and question to somebody nobody chose, so none is followed. Neither proxies nor
  files of passwords are taken from the environment, and cookies are not kept.
- A question has a connection of its own, which ends with it: none is used that died unseen, and who gives up
  frees the server. That costs a handshake, little beside an answer.

Source: https://platform.openai.com/docs/api-reference/chat/streaming and, for the lines,
https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx2
import msgspec

from mesh.errors import (
    BadSetting,
    MeshError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamUnreachable,
)
from mesh.upstream import (
    Concern,
    UpstreamCard,
    UpstreamEnd,
    UpstreamFinish,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamReasoning,
    UpstreamSettings,
    UpstreamText,
    UpstreamUsage,
    refused,
)

MAX_EVENT_BYTES = 1 << 20
"""Of one line or event; an event carries a few tokens, so this is far more than any honest one."""

_MAX_ERROR_BYTES = 1 << 16  # of a refusal's body that is read
_MAX_LIST_BYTES = 4 << 20  # of a list of models: those of the largest resellers have half a megabyte
_MAX_SHOWN_CHARACTERS = 300  # of a server's message
_MAX_DEPTH = 6  # at which a message is looked for in an error's JSON
_MAX_RETRY_S = 86_400.0
_MOST_TOKENS = 2**31 - 1  # that a server is believed to have counted
_SEED_MASK = 2**31 - 1  # the largest that every server takes: some read it into a signed 32-bit number

_BUSY = (429, 503, 529)
_OUR_FAULT = range(400, 500)
_LATER = (408, 425)  # among those: the server was too slow, or does not want it yet
_CONCERNS = {
    400: Concern.QUESTION,
    404: Concern.MODEL,  # or the path; then each model of the server has its turn
    413: Concern.QUESTION,
    422: Concern.QUESTION,
}
"""What a refusal concerns that is not the whole server."""

_FINISHES = {
    "stop": UpstreamFinish.STOP,
    "eos": UpstreamFinish.STOP,
    "eos_token": UpstreamFinish.STOP,
    "stop_sequence": UpstreamFinish.STOP,
    "end_turn": UpstreamFinish.STOP,
    "length": UpstreamFinish.LENGTH,
    "max_tokens": UpstreamFinish.LENGTH,
    "content_filter": UpstreamFinish.FILTERED,
}

_HINTS = {
    401: " (check its key)",
    403: " (check its key)",
    404: " (check its address and the model's name there)",
}

_BEFORE_SENDING = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_HUNG_UP = re.compile("disconnected|closed connection")  # else a breach of the protocol is no HTTP at all
_ASK_AGAIN = "(ask again, or look at the server)"

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)  # what msgspec raises for bad JSON or UTF-8


class OpenAiUpstream:
    """The Upstream port for one server."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Connect to nothing yet; raise BadSetting for an address that no connection can be made to."""
        self._settings = settings
        self._faults = _Faults(settings)
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
        answer = _Answer(self._faults)
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
        try:
            return tuple(model.id for model in msgspec.json.decode(content, type=_ModelList).data)
        except _UNREADABLE as error:
            raise self._faults.broken("answered with no list of models") from error

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
        if response.headers.get("content-encoding", "identity") != "identity":
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


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    name: bytes
    """Empty where it has none."""
    data: bytes
    """Its lines of data, with line feeds between."""


class EventDecoder:
    """Finds events in bytes that come in pieces of any size. Lines end in CR, LF or both."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_first = True
        self._ended_in_cr = False
        self._name = b""
        self._data: list[bytes] = []
        self._num_data_bytes = 0

    @property
    def num_held_bytes(self) -> int:
        """Of the event that is not complete; whoever feeds it bounds them."""
        return len(self._line) + self._num_data_bytes

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take more bytes; return the events that they complete, which must all be taken."""
        if not chunk:
            return
        if self._ended_in_cr:
            chunk = chunk.removeprefix(b"\n")
        self._ended_in_cr = chunk.endswith(b"\r")
        first, *others = _LINE_END.split(chunk)
        self._line += first
        for following in others:
            event = self._end_line(bytes(self._line))
            self._line = bytearray(following)
            if event:
                yield event

    def _end_line(self, line: bytes) -> Event | None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")  # a comment has no name; servers send them to keep awake
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._num_data_bytes += len(value) + 1  # an empty line is held too
        elif name == b"event":
            self._name = value
        return None

    def _end_event(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data)) if self._data else None
        self._name, self._data, self._num_data_bytes = b"", [], 0
        return event


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    """As DeepSeek, Qwen and llama-server call it."""
    reasoning: str | None = None
    """As Ollama and newer vLLM call it."""


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None
    kind: object = msgspec.field(name="object", default=None)


class _Model(msgspec.Struct, frozen=True):
    id: str


class _ModelList(msgspec.Struct, frozen=True):
    data: list[_Model]


class _Answer:
    """Puts events together to an answer; knows whether it is complete."""

    def __init__(self, faults: _Faults) -> None:
        self.is_done = False
        """Nothing more is to come."""
        self._faults = faults
        self._has_pieces = False
        self._reason: UpstreamFinish | None = None
        self._usage: UpstreamUsage | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the server said so."""
        return self.is_done or self._reason is not None

    def take(self, event: Event) -> list[UpstreamPiece]:
        """Return what an event adds; raise UpstreamBroken for an error, or what cannot be read."""
        if event.data.strip() == b"[DONE]":
            self.is_done = True
            return []
        try:
            chunk = msgspec.json.decode(event.data, type=_Chunk)
        except _UNREADABLE as error:
            raise self._faults.broken("sent an event that cannot be read") from error
        if event.name == b"error" or chunk.error or chunk.kind == "error":
            raise self._faults.broken("reported an error instead of an answer's end", _message(event.data))
        self._usage = _usage(chunk.usage) or self._usage
        ours = [choice for choice in chunk.choices or () if choice.index == 0]
        pieces = [piece for choice in ours for piece in self._of(choice)]
        self._has_pieces = self._has_pieces or bool(pieces)
        return pieces

    def _of(self, choice: _Choice) -> Iterator[UpstreamPiece]:
        if choice.finish_reason:
            self._reason = _FINISHES.get(choice.finish_reason.lower())
            if self._reason is None:
                raise self._faults.broken("ended its answer for another reason", choice.finish_reason)
        delta = choice.delta or _Delta()
        if thought := delta.reasoning_content or delta.reasoning:
            yield UpstreamReasoning(thought)
        if delta.content:
            yield UpstreamText(delta.content)

    def end(self) -> UpstreamEnd:
        """Return the end; raise UpstreamBroken where the server has not told of it, or told nothing else."""
        if not self.is_complete:
            raise self._faults.broken("ended the connection before the answer was complete")
        if self._reason is None and not self._has_pieces:
            raise self._faults.broken(f"said nothing, and gave no reason for it {_ASK_AGAIN}")
        return UpstreamEnd(self._reason or UpstreamFinish.STOP, self._usage)


class _Faults:
    """Gives what goes wrong with one server a name, and lets no error show its key."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._who = f"the upstream '{settings.card.name}'"

    def unreachable(self, why: str) -> UpstreamUnreachable:
        """Nothing was sent."""
        return UpstreamUnreachable(
            f"{self._who} does not answer at {self._settings.address}: {self._shown(why)}"
        )

    def broken(self, what: str, message: str = "") -> UpstreamBroken:
        """Something was sent, and no answer came, or not all of it."""
        return UpstreamBroken(self._line(what, message))

    def of_status(self, response: httpx2.Response, message: str) -> MeshError:
        """What a status other than success means."""
        status = response.status_code
        if status in _BUSY:
            busy = UpstreamBusy(self._line(f"is busy ({status})", message))
            seconds = _retry_after_s(response.headers)
            return busy if seconds is None else busy.until(seconds)
        if response.is_redirect:
            where = response.headers.get("location", "").partition("?")[0]
            text = self._line(f"redirects ({status}), which is not followed", f"to {where}")
            return refused(text, Concern.SERVER)
        if status in _OUR_FAULT and status not in _LATER:
            text = self._line(f"refused with {status}{_HINTS.get(status, '')}", message)
            return refused(text, _CONCERNS.get(status, Concern.SERVER))
        return self.broken(f"failed with {status}", message)

    def of_error(self, error: httpx2.HTTPError, when: str) -> MeshError:
        """What an error of the library means; its own words are for those who know its parts."""
        if isinstance(error, _BEFORE_SENDING):
            return self.unreachable(str(error) or type(error).__name__)
        if isinstance(error, httpx2.RemoteProtocolError) and not _HUNG_UP.search(str(error)):
            return self.broken("does not speak HTTP (check its address)")
        return self.broken(f"broke the connection off {when} {_ASK_AGAIN}")

    @contextmanager
    def mapped(self, when: str = "before it answered") -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except httpx2.HTTPError as error:
            raise self.of_error(error, when) from error
        except OSError as error:  # of TLS in mid-stream, which the library passes on
            raise self.broken(f"broke the connection off {when} {_ASK_AGAIN}", str(error)) from error

    def _line(self, what: str, message: str) -> str:
        shown = self._shown(message)
        return f"{self._who} {what}: {shown}" if shown else f"{self._who} {what}"

    def _shown(self, text: str) -> str:
        """One line of a text that others wrote; hidden first, so that no cut leaves a part of the key."""
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        key = self._settings.key
        line = key.hide(printable) if key else " ".join(printable.split())
        return line if len(line) <= _MAX_SHOWN_CHARACTERS else f"{line[:_MAX_SHOWN_CHARACTERS]}…"


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


def _usage(told: _Usage | None) -> UpstreamUsage | None:
    if told is None or told.prompt_tokens is None or told.completion_tokens is None:
        return None
    counted = (told.prompt_tokens, told.completion_tokens)
    return UpstreamUsage(*counted) if all(0 <= count <= _MOST_TOKENS for count in counted) else None


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
    if response.headers.get("content-encoding", "identity") != "identity":
        return ""
    try:
        return _message(await _beginning(response, _MAX_ERROR_BYTES))
    except (httpx2.HTTPError, OSError):
        return ""


def _message(content: bytes) -> str:
    """Find what an error says: in OpenAI's form, FastAPI's, Google's list of one; else it is the body."""
    try:
        said = msgspec.json.decode(content)
    except _UNREADABLE:
        return content.decode("utf-8", "replace")
    for _ in range(_MAX_DEPTH):
        match said:
            case str():
                return said
            case [inner, *_] | {"error": inner} | {"message": inner} | {"detail": inner} | {"msg": inner}:
                said = inner
    return content.decode("utf-8", "replace")


def _retry_after_s(headers: httpx2.Headers) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date, compared with the server's own clock."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return min(float(value), _MAX_RETRY_S)
    if (until := _date(value)) is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), _MAX_RETRY_S)


def _date(value: str) -> datetime | None:
    """Read a date of HTTP; one without a zone is of UTC, as all of HTTP's are."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
