"""What only HTTP can get wrong: ends that are none, errors in every form, keys, redirects, proxies."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.adapters.openai_upstream import MAX_EVENT_BYTES, OpenAiUpstream
from mesh.errors import (
    BadSetting,
    Concern,
    MeshError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mesh.types import ChatMessage, Sampling
from mesh.upstream import (
    Dialect,
    Secret,
    UpstreamCard,
    UpstreamEnd,
    UpstreamFinish,
    UpstreamModel,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamReasoning,
    UpstreamSettings,
    UpstreamText,
    UpstreamUsage,
    concern_of,
)
from tests.contract.test_upstream import Heard
from tests.openai_server import (
    DONE,
    HttpServer,
    Request,
    delta,
    ending,
    event,
    plain,
    stream_head,
    until_quiet,
    usage,
)

KEY = "sk-live-0123456789abcdef"
CARD = UpstreamCard("attic", (UpstreamModel("qwen3:30b", "Qwen3-30B"),))
QUESTION = UpstreamQuestion("qwen3:30b", (ChatMessage("user", "Hallo"),), max_tokens=9)
STOPPED = UpstreamEnd(UpstreamFinish.STOP, None)


@asynccontextmanager
async def server(*writes: bytes) -> AsyncIterator[HttpServer]:
    """A server that answers everything with these bytes and hangs up."""

    async def serve(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in writes:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    running = HttpServer(serve)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def attached(
    to: HttpServer, key: str | None = KEY, dialect: Dialect | None = None
) -> AsyncIterator[OpenAiUpstream]:
    settings = UpstreamSettings(CARD, f"{to.origin}/v1", Secret(key) if key else None, dialect or Dialect())
    upstream = OpenAiUpstream(settings)
    try:
        yield upstream
    finally:
        await upstream.close()


async def answer_to(*writes: bytes) -> Heard:
    """Return what comes of a stream; its error, if any, is raised."""
    heard = Heard()
    async with server(stream_head(), *writes) as running, attached(running) as upstream:
        await heard.listen(upstream)
    return heard


async def error_of(*writes: bytes) -> tuple[MeshError, list[UpstreamPiece]]:
    """Return how an answer fails, and what came before."""
    heard = Heard()
    async with server(*writes) as running, attached(running) as upstream:
        with pytest.raises(MeshError) as caught:
            await heard.listen(upstream)
    return caught.value, heard.pieces


# --- answers --------------------------------------------------------------------------------------


async def test_pieces_come_before_the_answer_is_over_also_where_characters_are_cut() -> None:
    whole = stream_head() + b": awake\r\n\r\n" + delta(content="Grüße 🌍").replace(b"\\u00fc", "ü".encode())
    goes_on = asyncio.Event()

    async def serve(_: Request, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await goes_on.wait()
        writer.write(ending() + DONE)

    running = HttpServer(serve)
    await running.start()
    async with attached(running) as upstream, aclosing(upstream.chat(QUESTION)) as answer:
        assert await anext(answer) == UpstreamText("Grüße 🌍")
        goes_on.set()
        assert await anext(answer) == STOPPED
    await running.stop()


@pytest.mark.parametrize(
    "writes",
    [
        (ending(),),
        (ending(), DONE),
        (DONE,),
        (b"data: [DONE]",),
        (ending().strip(),),
        (ending(), b"data: {\n\n"),
        (DONE, event({"error": "too late"})),
    ],
    ids=[
        "reason",
        "both",
        "done",
        "done without line",
        "reason without line",
        "reason, then dirt",
        "done first",
    ],
)
async def test_a_reason_or_done_makes_an_answer_complete(writes: tuple[bytes, ...]) -> None:
    assert (await answer_to(delta(content="ja"), *writes)).pieces == [UpstreamText("ja"), STOPPED]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", UpstreamFinish.STOP),
        ("STOP", UpstreamFinish.STOP),
        ("eos_token", UpstreamFinish.STOP),
        ("length", UpstreamFinish.LENGTH),
        ("max_tokens", UpstreamFinish.LENGTH),
        ("content_filter", UpstreamFinish.FILTERED),
    ],
)
async def test_reasons_of_all_servers_are_understood(said: str, reason: UpstreamFinish) -> None:
    assert (await answer_to(ending(said), DONE)).pieces == [UpstreamEnd(reason, None)]


@pytest.mark.parametrize(
    "said",
    [(DONE,), (delta(role="assistant", content=""), DONE), (usage(5, 0), DONE)],
    ids=["done", "role", "usage"],
)
async def test_an_end_without_a_word_or_a_reason_is_no_answer(said: tuple[bytes, ...]) -> None:
    error, pieces = await error_of(stream_head(), *said)
    assert isinstance(error, UpstreamBroken)
    assert "'attic' said nothing, and gave no reason for it" in str(error)
    assert pieces == []


async def test_usage_is_taken_from_any_event_and_other_choices_are_not() -> None:
    other = event({"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]})
    both = {"choices": [{"delta": {"content": "ja"}, "finish_reason": "stop"}], "usage": None}
    heard = await answer_to(other, event(both), usage(11, 7), event({"choices": None, "x": {}}), DONE)
    assert heard.pieces == [UpstreamText("ja"), UpstreamEnd(UpstreamFinish.STOP, UpstreamUsage(11, 7))]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_are_told_apart_whatever_they_are_called(name: str) -> None:
    heard = await answer_to(delta(**{name: "hm"}), delta(content="ja"), ending())
    assert heard.pieces == [UpstreamReasoning("hm"), UpstreamText("ja"), STOPPED]


async def test_an_answer_that_is_complete_stays_so_when_the_connection_breaks() -> None:
    chunked = stream_head().replace(b"Connection: close", b"Transfer-Encoding: chunked")
    body = delta(content="ja") + ending()
    heard = Heard()
    async with server(chunked, b"%x\r\n%s\r\n" % (len(body), body)) as running, attached(running) as upstream:
        await heard.listen(upstream)
    assert heard.pieces == [UpstreamText("ja"), STOPPED]


async def test_a_connection_that_breaks_before_the_end_is_an_error_after_what_came() -> None:
    chunked = stream_head().replace(b"Connection: close", b"Transfer-Encoding: chunked")
    body = delta(content="ja")
    error, pieces = await error_of(chunked, b"%x\r\n%s\r\n" % (len(body), body))
    assert isinstance(error, UpstreamBroken)
    assert str(error).endswith("broke the connection off in mid-answer (ask again, or look at the server)")
    assert pieces == [UpstreamText("ja")]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (event({"error": {"message": "out of memory", "code": 500}}), "reported an error .*: out of memory"),
        (event({"error": "out of memory"}), "reported an error .*: out of memory"),
        (b"event: error\n" + event({"message": "out of memory"}), "reported an error .*: out of memory"),
        (event({"object": "error", "message": "out of memory"}), "reported an error .*: out of memory"),
        (ending("insufficient_system_resource"), "for another reason: insufficient_system_resource"),
        (ending("tool_calls"), "for another reason: tool_calls"),
        (b"data: {'choices'}\n\n", "sent an event that cannot be read"),
        (b"data: \n\n", "sent an event that cannot be read"),
        (b'data: {"choices": 7}\n\n', "sent an event that cannot be read"),
        (b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', "sent an event that cannot be read"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "sent an event that cannot be read"),
        (b'data: {"choices": [{"del', "sent an event that cannot be read"),
        (b"nothing of the kind\n\n", "ended the connection before the answer was complete"),
        (b"data: " + b"x" * (MAX_EVENT_BYTES + 1), "an event of more than 1048576 bytes"),
        (
            (b"data: " + b"x" * 1023 + b"\n") * (MAX_EVENT_BYTES // 1024 + 1),
            "an event of more than 1048576 bytes",
        ),
        (b"", "ended the connection before the answer was complete"),
    ],
)
async def test_what_is_no_proper_end_is_an_error_after_what_came(sent: bytes, said: str) -> None:
    error, pieces = await error_of(
        stream_head(), delta(content="ja"), sent, DONE if b"error" in sent else b""
    )
    assert isinstance(error, UpstreamBroken)
    assert re.search(said, str(error)), str(error)
    assert error.retry
    assert pieces == [UpstreamText("ja")]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (plain("200 OK", {"error": {"message": "no such model"}}), "not answer with a stream: no such model"),
        (plain("200 OK", {"choices": []}), "did not answer with a stream"),
        (stream_head().replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), "compresses its stream"),
        (b"", "broke the connection off before it answered (ask again, or look at the server)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke the connection off before it answered"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "'attic' does not speak HTTP (check its address)"),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "'attic' does not speak HTTP (check its address)"),
        (plain("500 Oh", {"detail": "a bug"}), "failed with 500: a bug"),
        (plain("408 Slow", {"detail": [{"msg": "too slow"}]}), "failed with 408: too slow"),
        (plain("502 Oh", [{"error": {"message": "nobody home"}}]), "failed with 502: nobody home"),
    ],
)
async def test_what_is_no_answer_is_an_error(response: bytes, said: str) -> None:
    error, pieces = await error_of(response)
    assert isinstance(error, UpstreamBroken)
    assert said in str(error)
    assert pieces == []


@pytest.mark.parametrize(
    ("status", "said", "concern"),
    [
        ("400 Bad", r"refused with 400: prompt too long$", Concern.QUESTION),
        ("401 No", r"refused with 401 \(check its key\): prompt too long$", Concern.SERVER),
        ("402 Pay", r"refused with 402: ", Concern.SERVER),
        ("403 No", r"refused with 403 \(check its key\)", Concern.SERVER),
        ("404 Where", r"refused with 404 \(check its address and the model's name there\)", Concern.MODEL),
        ("413 Long", r"refused with 413: ", Concern.QUESTION),
        ("422 What", r"refused with 422: ", Concern.QUESTION),
    ],
)
async def test_a_refusal_is_not_worth_a_second_try_and_says_why(
    status: str, said: str, concern: Concern
) -> None:
    error, _ = await error_of(plain(status, {"error": {"message": "prompt\r\n too\x00long"}}))
    assert isinstance(error, UpstreamRefused)
    assert re.search(f"the upstream 'attic' {said}", str(error)), str(error)
    assert not error.retry
    assert concern_of(error) is concern


async def test_a_refusal_shows_only_the_beginning_of_a_long_message() -> None:
    page = b"HTTP/1.1 404 Where\r\nContent-Type: text/html\r\n\r\n<html>" + b"lost " * 100_000
    error, _ = await error_of(page)
    assert isinstance(error, UpstreamRefused)
    assert "<html>lost lost" in str(error)
    assert len(str(error)) < 450


@pytest.mark.parametrize("status", ["429 Slow", "503 Loading", "529 Overloaded"])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("Retry-After: 20\r\n", 20.0),
        ("Retry-After: 999999999\r\n", 86_400.0),
        ("Date: Sun, 22 Nov 2026 10:00:00 GMT\r\nRetry-After: Sun, 22 Nov 2026 10:01:30 GMT\r\n", 90.0),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 86_400.0),
        ("Retry-After: Sat, 22 Nov 2025 10:01:30 GMT\r\n", 1.0),
        ("Date: today\r\nRetry-After: Sat, 22 Nov 2025 10:01:30 -0000\r\n", 1.0),
        ("Date: Sun, 22 Nov 2026 10:00:00 GMT\r\nRetry-After: soon\r\n", None),
        ("Retry-After: -5\r\n", None),
        ("", None),
    ],
)
async def test_a_busy_server_is_asked_again_when_it_says(
    status: str, headers: str, seconds: float | None
) -> None:
    error, _ = await error_of(plain(status, {"error": {"message": "full"}}, headers))
    assert isinstance(error, UpstreamBusy)
    assert error.retry
    assert error.retry_after_s == seconds
    assert f"is busy ({status[:3]}): full" in str(error)


# --- what is sent ---------------------------------------------------------------------------------


async def sent_with(
    question: UpstreamQuestion, dialect: Dialect | None = None, key: str | None = KEY
) -> Request:
    async with server(stream_head(), ending()) as running, attached(running, key, dialect) as upstream:
        await Heard().listen(upstream, question)
        (request,) = running.requests
    return request


async def test_a_request_says_what_was_asked_in_the_servers_words() -> None:
    turns = (ChatMessage("system", "Sei kurz."), ChatMessage("user", "Grüß 🌍"))
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.1, seed=2**40 + 42)
    request = await sent_with(UpstreamQuestion("qwen3:30b", turns, 33, sampling))
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.content == {
        "model": "Qwen3-30B",
        "messages": [{"role": "system", "content": "Sei kurz."}, {"role": "user", "content": "Grüß 🌍"}],
        "max_tokens": 33,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 42,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_a_dialect_renames_the_limit_and_leaves_fields_out() -> None:
    left_out = frozenset({"temperature", "top_p", "seed", "stream_options"})
    request = await sent_with(QUESTION, Dialect("max_completion_tokens", left_out))
    assert request.content == {
        "model": "Qwen3-30B",
        "messages": [{"role": "user", "content": "Hallo"}],
        "max_completion_tokens": 9,
        "stream": True,
    }


async def test_without_a_key_none_is_sent() -> None:
    assert "authorization" not in (await sent_with(QUESTION, key=None)).headers


async def test_a_password_file_of_the_environment_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert "authorization" not in (await sent_with(QUESTION, key=None)).headers


async def test_proxies_of_the_environment_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(stream_head(), ending()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        await sent_with(QUESTION)
        assert proxy.requests == []


async def test_cookies_are_not_kept() -> None:
    cookie = stream_head().replace(b"\r\n\r\n", b"\r\nSet-Cookie: who=me; Path=/\r\n\r\n")
    async with server(cookie, ending()) as running, attached(running) as upstream:
        await Heard().listen(upstream)
        await Heard().listen(upstream)
        assert ["cookie" in request.headers for request in running.requests] == [False, False]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Moved", "308 Moved"])
async def test_a_redirect_is_not_followed_and_carries_neither_key_nor_question(status: str) -> None:
    async with server(stream_head(), ending()) as other:
        away = f"HTTP/1.1 {status}\r\nLocation: {other.origin}/v1/chat/completions?k={KEY}\r\n\r\n".encode()
        error, _ = await error_of(away)
        assert other.requests == []
    assert isinstance(error, UpstreamRefused)
    assert concern_of(error) is Concern.SERVER
    assert f"to {other.origin}/v1/chat/completions" in str(error)
    assert KEY not in str(error)


# --- the key --------------------------------------------------------------------------------------


def parts_of_key() -> Iterator[str]:
    return (KEY[start : start + 8] for start in range(len(KEY) - 7))


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        f"'{KEY}',",
        f"Bearer:{KEY}.",
        KEY[:12] + "*****" + KEY[-4:],
        KEY[:10],
        KEY[-8:],
        "sk-l***cdef",
        "sk-li...cdef",
        "sk-l…cdef",
        "x" * 280 + " " + KEY,
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        lambda text: plain("401 No", {"error": {"message": text}}),
        lambda text: f"HTTP/1.1 401 No\r\n\r\nbad key {text}".encode(),
        lambda text: plain("429 Slow", {"error": {"message": text}}),
        lambda text: plain("500 Oh", {"error": text}),
        lambda text: stream_head() + event({"error": {"message": f"bad key {text}"}}),
        lambda text: stream_head() + ending(text),
        lambda text: plain("200 OK", {"error": {"message": text}}),
    ],
    ids=["401", "text", "429", "500", "event", "reason", "200"],
)
async def test_no_error_shows_the_key(form: Callable[[str], bytes], shown: str) -> None:
    error, _ = await error_of(form(shown))
    assert not any(part in str(error) for part in parts_of_key())
    assert "cdef" not in str(error)


async def test_neither_logs_nor_representations_show_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with server(plain("401 No", {"error": KEY})) as running, attached(running) as upstream:
        with pytest.raises(UpstreamRefused) as caught:
            await Heard().listen(upstream)
        shown = [repr(upstream), repr(upstream._settings), repr(upstream._client.headers), repr(caught.value)]
        assert running.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert caplog.text  # the library does log
    assert not any(part in text for part in parts_of_key() for text in [*shown, caplog.text])


# --- connections ----------------------------------------------------------------------------------


async def test_giving_up_closes_the_connection_while_the_server_still_thinks() -> None:
    hung_up = asyncio.Event()

    async def think(_: Request, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        hung_up.set()

    running = HttpServer(think)
    await running.start()
    async with attached(running) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await Heard().listen(upstream)
        async with asyncio.timeout(10):
            await hung_up.wait()
        await until_quiet(running)
    await running.stop()


async def test_a_refusal_that_is_not_read_is_left_too() -> None:
    async def linger(_: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b")
        await reader.read()

    running = HttpServer(linger)
    await running.start()
    async with attached(running) as upstream:
        with pytest.raises(UpstreamRefused, match=r"refused with 401 \(check its key\)$"):
            await Heard().listen(upstream)
        await until_quiet(running)
    await running.stop()


async def test_a_server_that_does_not_hang_up_after_its_end_is_left() -> None:
    async def linger(_: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head() + delta(content="ja") + ending() + DONE)
        await reader.read()

    running = HttpServer(linger)
    await running.start()
    heard = Heard()
    async with attached(running) as upstream:
        await heard.listen(upstream)
        await until_quiet(running)
    assert heard.pieces == [UpstreamText("ja"), STOPPED]
    await running.stop()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\n\r\nhello", plain("200 OK", {"data": [{"name": "x"}]}), plain("200 OK", [])],
)
async def test_what_is_no_list_of_models_is_broken_and_not_reachable(answer: bytes) -> None:
    async with server(answer) as running, attached(running) as upstream:
        with pytest.raises(UpstreamBroken, match="no list of models"):
            await upstream.models()
        assert not await upstream.is_reachable()


@pytest.mark.parametrize("address", ["http://[::1/v1", "http://[v1.x]/v1", "http://☃️/v1"])
def test_an_address_that_is_none_is_a_bad_setting(address: str) -> None:
    with pytest.raises(BadSetting):
        OpenAiUpstream(UpstreamSettings(CARD, address))


# A certificate that nobody vouches for, with its key; made for this test and used nowhere else.
SELF_SIGNED = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIKj/S4GOkr7vQQGjGW7WTKoh0vmFUwiRrUZIgSaBlQiloAoGCCqGSM49
AwEHoUQDQgAEeZSeNxcPI7ssxUARBE3+S59NDgFeg9eVN0F8ten0YpmLGYRrsFd0
oIxnjGcXMO55qndvmdJHW5iaXe1/lirZCw==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUaGstLJj7/CUQem8sGNZxvuICq+gwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjEyNTIyMVoYDzIxMjYxMDI5
MTI1MjIxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR5lJ43Fw8juyzFQBEETf5Ln00OAV6D15U3QXy16fRimYsZhGuwV3Sg
jGeMZxcw7nmqd2+Z0kdbmJpd7X+WKtkLo2QwYjAdBgNVHQ4EFgQU73QYyfwRREM7
KRSdHRQOeyRWNQUwHwYDVR0jBBgwFoAU73QYyfwRREM7KRSdHRQOeyRWNQUwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IAkCcrbU4c9TimPSlhlmE2g1iQXJ2D0oJJhSog3g0zKWAiEA9b4y9evW8UVAgtyl
0APZInUQG6DumgYwDkvw3k8Q3so=
-----END CERTIFICATE-----
"""


async def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "self-signed.pem"
    pem.write_text(SELF_SIGNED)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # nor does the environment choose whom to trust
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1))
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = running.sockets[0].getsockname()[1]
    upstream = OpenAiUpstream(UpstreamSettings(CARD, f"https://127.0.0.1:{port}/v1", Secret(KEY)))
    with pytest.raises(UpstreamUnreachable, match=r"(?i)certificate"):
        await Heard().listen(upstream)
    await upstream.close()
    running.close()
    await running.wait_closed()
    assert came == []


# --- values ---------------------------------------------------------------------------------------


def test_a_secret_is_not_shown_copied_or_made_of_what_no_header_carries() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret!r} {secret} {replace(UpstreamSettings(CARD, 'http://a'), key=secret)}"
    assert secret == Secret(KEY)
    assert secret != Secret("other")
    assert secret != KEY
    with pytest.raises(TypeError):
        secret.__reduce__()
    for text in ("", "two words", "line\n", "schlüssel"):
        with pytest.raises(BadSetting) as caught:
            Secret(text)
        assert not text or text not in str(caught.value)


def test_ordinary_words_are_not_hidden() -> None:
    text = "Incorrect API key provided. See https://example.com/account/api-keys ..."
    assert Secret(KEY).hide(text) == text
    assert Secret("ollama").hide("ask ollama") == "ask [hidden]"


@pytest.mark.slow
def test_only_the_adapter_loads_the_library() -> None:
    modules = "mesh.client, mesh.ports, nodes.upstreams, simulator.upstream"
    script = f"import sys, {modules}; print('httpx2' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "False"
