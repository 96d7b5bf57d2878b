"""Every message goes round unchanged; bytes that are no message raise MalformedMessage and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh import messages as m
from mesh.config import MAX_LINKS, MAX_PADDING_BYTES
from mesh.decision import Decision, Option, OptionKind, Prediction, Privacy, Share
from mesh.errors import BadSetting, MalformedMessage
from mesh.types import (
    Address,
    Ahead,
    ChatMessage,
    Device,
    DeviceClass,
    Digest,
    Drafted,
    Drafting,
    FinishReason,
    Guesses,
    Hidden,
    Hop,
    LinkRecord,
    LoadedStage,
    ModelRef,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    Plan,
    PlannedStage,
    Precision,
    ProtocolVersion,
    Recovery,
    Sampling,
    SamplingField,
    SessionId,
    Settled,
    Source,
    Span,
    StageKey,
    StageShare,
    Summary,
    Thinking,
    TokenIds,
)
from mesh.wire import client_pb2, link_pb2, session_pb2, stage_pb2
from mesh.wire import values as v
from mesh.wire.codec import decode, encode
from mesh.wire.envelope_pb2 import Envelope
from tests.speeds import SPEED

RECORD = NodeRecord(
    NodeId("1" * 32), "Küche", DeviceClass.FRIDGE, Address("fe80::1", 7070), "home", ProtocolVersion(1, 2), 9
)
KEY = StageKey(Digest("a" * 64), Span(3, 17), Precision.INT4)
STATUS = NodeStatus(
    300, 200, (ModelRef("tiny", Digest("a" * 64)),), (LoadedStage(KEY, 190, 0.25, is_in_use=True),), 2
)
FAST = replace(STATUS, speed=SPEED)
LINKED = replace(
    STATUS, links=(LinkRecord(NodeId("2" * 32), 0.25, 2e7), LinkRecord(NodeId("3" * 32), 0.5, None))
)
LEAVING = replace(STATUS, spare_bytes=40, leaving="its battery is at 12 %", is_closed=True)
SAMPLING = Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, seed=2**64 - 1)
SESSION = SessionId("0123456789abcdef")
HOP = Hop(RECORD.node_id, RECORD.address, KEY)
OPENING = m.OpenSession(
    SESSION, 1, (HOP, HOP), 1, Address("10.0.0.2", 65535), 4096, SAMPLING, 77, RECORD.node_id
)
PLANNED = PlannedStage(RECORD, Span(0, 1), 5, 6)
PLAN = Plan(ModelRef("tiny", Digest("a" * 64)), Precision.F32, 1024, (PLANNED,), (PLANNED, PLANNED))
RECOVERY = Recovery(("tv", "Küche"), ("car",), 0.25, 0.5, 77, 12)
SHARE = StageShare(RECORD.node_id, "tv", DeviceClass.TV, Span(0, 30), 95, 300)
SUMMARY = Summary(
    "tiny", FinishReason.STOP, (1, 2, 2**32 - 1), 3, 2**64 - 1, 0.25, 12.5, (SHARE,), (RECOVERY,), 2
)
DECISION = Decision(
    "tiny",
    Privacy.CLOUD,
    5,
    (
        Option(
            OptionKind.SPLIT, "tiny", (Share("tv", Span(0, 9)), Share("car", Span(9, 12))), waits_for="tv"
        ),
        Option(
            OptionKind.UPSTREAM,
            "tiny",
            upstream="studio",
            prediction=Prediction(0.0, 0.5, 0.01, 128, 7.5, 2.5),
        ),
        Option(OptionKind.DEVICE, "tiny", (Share("Küche", Span(0, 12)),), excluded="it is lost"),
    ),
    "tv + car share the layers",
    ("car claims much",),
)
GUESSED = replace(SUMMARY, guesses=Guesses(5, (Drafted("lookup", 12, 7), Drafted("mtp", 3, 1))))
CHAT = m.ChatRequest(4, "tiny", (ChatMessage("user", "Grüße 🙂"),), 256, SAMPLING, 1.5)
STARTED = m.Started(SESSION, 3, PLAN, (1, 2**32 - 1))
ROUTED = m.Routed(4, SESSION, 2, PLAN, (RECORD, RECORD), RECOVERY)

EXAMPLES: list[m.Message] = [
    m.Hello(ProtocolVersion(1, 0), "home", RECORD),
    m.Refusal("version_mismatch", "too old"),
    m.Heartbeat(STATUS, (RECORD, replace(RECORD, name="tv")), 0.2),
    m.HeartbeatReply(),
    m.Goodbye(),
    m.Echo(7, 2048),
    m.EchoReply(7),
    m.LoadStage(5, KEY),
    m.StageLoaded(5, 2**40, 0.125),
    m.RequestFailed(5, "busy", "full", 2.5),
    OPENING,
    m.Frame(SESSION, 1, 2, 7, TokenIds((1, 2)), sample=True),
    m.Frame(SESSION, 1, 0, 7, TokenIds((1, 2, 3)), sample=True, drafts=(2, 3)),
    m.Frame(SESSION, 1, 0, 7, TokenIds((2, 3)), True, (2, 3), (2, 3), num_wanted=4, ahead=Ahead(1, 0)),
    m.Frame(SESSION, 1, 1, 7, Hidden(b"\0" * 8), True, tokens=(1, 2**32 - 1)),
    m.Token(SESSION, 1, 8, 49151),
    m.Token(SESSION, 1, 8, 49151, (3,), (0, 2**32 - 1)),
    m.Token(SESSION, 1, 8, 49151, (0, 2**32 - 1)),
    m.Resume(SESSION, 1, 2, 30, 40),
    m.ProgressRequest(SESSION, 1, 2),
    m.Progress(SESSION, 1, 2, 30, 1.25, 0.5, 3),
    m.SessionFailed(SESSION, 1, RECORD.node_id, "position_gap", "a gap", NodeId("2" * 32)),
    m.CloseSession(SESSION, 1, is_parked=True),
    replace(CHAT, started=STARTED),
    ROUTED,
    m.Piece(4, "é", (1, 2)),
    m.ChatFinished(4, SUMMARY),
    m.ChatFinished(4, GUESSED),
    m.CancelRequest(4),
    m.DevicesRequest(4),
    m.DevicesReply(4, (Device(RECORD, NodeState.ALIVE, Source.MDNS, LEAVING, "left 3 times"),)),
    m.PlanRequest(4, "tiny", 512),
    m.PlanReply(4, PLAN, DECISION),
    m.Decided(4, DECISION),
    m.DrainRequest(4, is_forced=True, is_over=True),
    m.DrainReply(4),
]

VARIANTS: list[m.Message] = [
    m.Hello(ProtocolVersion(2, 7), "", None),
    m.PlanReply(4, None, replace(DECISION, options=())),
    m.PlanRequest(4, None, None, (ChatMessage("user", "?"),), 9, Privacy.CLOUD, "math"),
    replace(CHAT, privacy=Privacy.DEVICE, skill="code", drafting=Drafting.NONE),
    m.Heartbeat(),
    m.Heartbeat(NodeStatus(0, 0)),
    m.Heartbeat(FAST),
    m.Heartbeat(LINKED),
    m.Echo(0),
    m.Echo(2**64 - 1, MAX_PADDING_BYTES),
    m.Heartbeat(replace(STATUS, leaving="")),
    m.Heartbeat(next_s=0.0),
    m.Heartbeat(None, (RECORD,)),
    replace(OPENING, index=0, sampling=Sampling()),
    m.Frame(SESSION, 0, 0, 0, Hidden(b"\0\xff" * 8), sample=False),
    m.Frame(SESSION, 0, 0, 0, TokenIds(()), sample=False),
    m.Frame(SESSION, 0, 0, 0, Hidden(b""), sample=False),
    m.SessionFailed(SESSION, 0, RECORD.node_id, "internal", ""),
    m.SessionFailed(SESSION, 0, RECORD.node_id, "busy", "full", retry_after_s=0.0),
    m.RequestFailed(5, "internal", ""),
    m.CloseSession(SESSION, 1),
    replace(OPENING, source=SessionId("f" * 16), shared=70),
    replace(OPENING, newest=(504, 0, 3575)),
    CHAT,
    replace(CHAT, model=None, deadline_s=None),
    replace(CHAT, model="", deadline_s=0.0, messages=()),
    replace(CHAT, started=replace(STARTED, tokens=(), plan=replace(PLAN, standbys=()))),
    replace(ROUTED, gateways=(), recovery=None),
    m.Piece(4, "", ()),
    m.Piece(4, "", (1,), "hm"),
    m.Piece(4, "Tōkyō", (1, 2), "hm"),
    replace(CHAT, left_open=tuple(SamplingField)),
    *(replace(CHAT, started=replace(STARTED, thinking=thinking)) for thinking in Thinking),
    *(replace(ROUTED, settled=Settled(SAMPLING, thinking=thinking)) for thinking in Thinking),
    replace(ROUTED, settled=Settled(Sampling(), has_empty_system=True)),
    m.ChatFinished(4, replace(SUMMARY, sampling=SAMPLING)),
    m.DrainRequest(4, is_forced=False),
    m.DevicesReply(4, ()),
    *(m.DevicesReply(4, (Device(RECORD, state, Source.SELF, None),)) for state in NodeState),
    *(m.DevicesReply(4, (Device(RECORD, NodeState.LOST, source, None),)) for source in Source),
    *(m.Hello(ProtocolVersion(1, 0), "home", replace(RECORD, device_class=kind)) for kind in DeviceClass),
    *(
        m.ChatFinished(4, replace(SUMMARY, reason=reason, stages=(), recoveries=()))
        for reason in FinishReason
    ),
    *(m.LoadStage(5, replace(KEY, precision=precision)) for precision in Precision),
    m.PlanRequest(4, None, None),
    m.PlanRequest(4, "", 0),
]


def kinds_of(union: object) -> set[type]:
    parts = get_args(union)
    return set().union(*map(kinds_of, parts)) if parts else {union}  # type: ignore[arg-type]


def test_there_is_an_example_of_every_message() -> None:
    assert {type(example) for example in EXAMPLES} == kinds_of(m.Message)


def test_every_field_of_the_envelope_is_written_by_some_message() -> None:
    written = {Envelope.FromString(encode(example)).WhichOneof("message") for example in EXAMPLES}
    assert written == set(Envelope.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("message", EXAMPLES + VARIANTS, ids=lambda message: type(message).__name__)
def test_a_message_goes_round_unchanged(message: m.Message) -> None:
    assert decode(encode(message)) == message


U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SESSIONS = TEXTS.map(SessionId)
SPANS = st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 2**31)).map(lambda t: Span(t[0], t[0] + t[1]))
KEYS = st.builds(StageKey, TEXTS.map(Digest), SPANS, st.sampled_from(Precision))
ADDRESSES = st.builds(
    Address, st.text(st.characters(categories=["L", "N"]), min_size=1), st.integers(1, 65535)
)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 1e30),
    top_k=st.none() | st.integers(1, 2**32 - 1),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
    seed=U64,
)
FRAMES = st.builds(
    m.Frame,
    SESSIONS,
    U32,
    U32,
    U32,
    st.lists(U32).map(lambda ids: TokenIds(tuple(ids))) | st.binary(max_size=50).map(Hidden),
    st.booleans(),
)
HOPS = st.lists(st.builds(Hop, TEXTS.map(NodeId), ADDRESSES, KEYS), min_size=1, max_size=4)


@st.composite
def openings(draw: st.DrawFn) -> m.OpenSession:
    route = tuple(draw(HOPS))
    index = draw(st.integers(0, len(route) - 1))
    return m.OpenSession(draw(SESSIONS), draw(U32), route, index, draw(ADDRESSES), draw(U32), draw(SAMPLINGS))


CHATS = st.builds(
    m.ChatRequest,
    U64,
    st.none() | TEXTS,
    st.lists(st.builds(ChatMessage, TEXTS, TEXTS), max_size=3).map(tuple),
    U32,
    SAMPLINGS,
    st.none() | st.floats(0, 1e9),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(FRAMES | openings() | CHATS)
def test_whatever_they_hold_frames_openings_and_chats_go_round(message: m.Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        replace(CHAT, max_tokens=-1),
        replace(CHAT, max_tokens=2**32),
        replace(CHAT, messages=(ChatMessage("user", "\udc80"),)),
        m.Token(SESSION, 0, -1, 0),
    ],
)
def test_what_the_wire_cannot_carry_is_told_to_the_sender(message: m.Message) -> None:
    with pytest.raises(BadSetting, match=f"a {type(message).__name__} cannot be sent: "):
        encode(message)


def decodes_or_is_malformed(data: bytes) -> None:
    try:
        message = decode(data)
    except MalformedMessage as error:
        assert f"{len(data)} bytes that cannot be read" in str(error)  # noqa: PT017
    else:
        assert message is None or type(message) in kinds_of(m.Message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_cut_short_is_malformed(message: m.Message) -> None:
    data = encode(message)
    for length in range(1, len(data)):
        with pytest.raises(MalformedMessage):
            decode(data[:length])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_malformed_or_unknown_and_raise_nothing_else(data: bytes) -> None:
    decodes_or_is_malformed(data)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 10_000), st.integers(0, 255))
def test_a_message_with_one_wrong_byte_raises_nothing_else(message: m.Message, place: int, byte: int) -> None:
    data = bytearray(encode(message))
    data[place % len(data)] = byte
    decodes_or_is_malformed(bytes(data))


def hello_pb() -> link_pb2.Hello:
    return link_pb2.Hello(version=v.version_to_pb(RECORD.version), mesh="home", node=v.record_to_pb(RECORD))


def opening_pb() -> session_pb2.OpenSession:
    return Envelope.FromString(encode(OPENING)).open_session


def chat_pb() -> client_pb2.ChatRequest:
    return Envelope.FromString(encode(CHAT)).chat_request


def bad_hello(device_class: str = "tv", host: str = "h", port: int = 1) -> Envelope:
    pb = hello_pb()
    pb.node.device_class = device_class
    pb.node.address.host, pb.node.address.port = host, port
    return Envelope(hello=pb)


def bad_load(start: int, end: int, precision: str = "int4") -> Envelope:
    key = v.key_to_pb(KEY)
    key.span.start, key.span.end, key.precision = start, end, precision
    return Envelope(load_stage=stage_pb2.LoadStage(request_id=1, key=key))


def bad_opening(index: int = 0, num_hops: int = 2, port: int = 1, top_p: float = 1.0) -> Envelope:
    pb = opening_pb()
    pb.index, pb.gateway.port, pb.sampling.top_p = index, port, top_p
    del pb.route[num_hops:]
    return Envelope(open_session=pb)


def bad_chat(temperature: float = 0.0, min_p: float = 0.0, top_k: int = 1) -> Envelope:
    pb = chat_pb()
    pb.sampling.temperature, pb.sampling.min_p, pb.sampling.top_k = temperature, min_p, top_k
    return Envelope(chat_request=pb)


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (bad_hello(device_class="toaster"), "toaster"),
        (bad_hello(port=0), "h:0 is not an address"),
        (bad_hello(port=65536), "h:65536 is not an address"),
        (bad_hello(host=""), ":1 is not an address"),
        (bad_load(5, 5), r"\[5, 5\) is not a span"),
        (bad_load(6, 5), r"\[6, 5\) is not a span"),
        (bad_load(0, 5, "int3"), "int3"),
        (Envelope(load_stage=stage_pb2.LoadStage(request_id=1)), "not a span"),
        (bad_opening(index=2), "index 2 in a route of 2 hops"),
        (bad_opening(num_hops=0), "index 0 in a route of 0 hops"),
        (bad_opening(port=0), "is not an address"),
        (bad_opening(top_p=0.0), "top_p"),
        (bad_opening(top_p=math.nan), "top_p"),
        (bad_chat(temperature=-1.0), "temperature"),
        (bad_chat(temperature=math.inf), "temperature"),
        (bad_chat(temperature=math.nan), "temperature"),
        (bad_chat(min_p=1.1), "min_p"),
        (bad_chat(top_k=0), "top_k"),
        (Envelope(frame=session_pb2.Frame(session_id=SESSION)), "a frame without a payload"),
        (
            Envelope(
                frame=session_pb2.Frame(
                    session_id=SESSION,
                    tokens=session_pb2.TokenIds(ids=[1]),
                    ahead=session_pb2.Ahead(verified_to=0),
                )
            ),
            "a frame of guesses without a guess",
        ),
    ],
)
def test_an_impossible_value_is_malformed_and_named(envelope: Envelope, why: str) -> None:
    with pytest.raises(MalformedMessage, match=why):
        decode(envelope.SerializeToString())


def test_a_client_of_an_older_version_sees_no_reasoning_in_the_text_and_counts_its_tokens() -> None:
    pb = Envelope.FromString(encode(m.Piece(4, "", (1, 2), "hm"))).piece
    pb.ClearField("reasoning")  # which it does not know
    assert decode(Envelope(piece=pb).SerializeToString()) == m.Piece(4, "", (1, 2))


def test_words_of_a_newer_version_are_passed_over() -> None:
    pb = Envelope.FromString(encode(replace(CHAT, started=STARTED))).chat_request
    pb.left_open.extend(["mirostat", "top_p"])
    pb.started.thinking = "aloud"
    assert decode(Envelope(chat_request=pb).SerializeToString()) == replace(
        CHAT, started=STARTED, left_open=(SamplingField.TOP_P,)
    )


def test_a_text_that_is_not_utf8_is_malformed() -> None:
    data = encode(m.Refusal("busy", "xyz")).replace(b"xyz", b"\xff\xfe\xfd")
    with pytest.raises(MalformedMessage):
        decode(data)


def test_a_heartbeat_with_nothing_new_is_two_bytes() -> None:
    assert encode(m.Heartbeat()) == b"\x1a\x00"


def test_a_message_of_a_newer_minor_version_is_passed_over() -> None:
    field_1000_of_no_bytes = b"\xc2\x3e\x00"
    assert decode(field_1000_of_no_bytes) is None
    assert decode(b"") is None


def test_a_known_message_with_a_field_of_a_newer_minor_version_is_read() -> None:
    refusal = link_pb2.Refusal(code="busy").SerializeToString() + b"\xc2\x3e\x00"
    assert decode(b"\x12" + bytes([len(refusal)]) + refusal) == m.Refusal("busy", "")
    assert decode(b"\x1a\x03\xc2\x3e\x00") == m.Heartbeat()


def test_a_record_of_speed_of_another_version_is_passed_over() -> None:
    pb = v.status_to_pb(FAST)
    pb.speed.version += 1
    assert v.status_from_pb(pb) == STATUS


@pytest.mark.parametrize("figure", [0.0, -1.0, math.inf, math.nan])
def test_a_speed_that_cannot_be_is_read_and_is_not_sound(figure: float) -> None:
    pb = v.speed_to_pb(SPEED)
    pb.prefill_layer_row_s = figure
    assert v.speed_from_pb(v.speed_to_pb(SPEED)).is_sound
    assert not v.speed_from_pb(pb).is_sound


def test_a_question_is_five_bytes_and_its_padding_and_an_answer_is_five() -> None:
    assert len(encode(m.Echo(1))) == 4
    assert len(encode(m.Echo(2**13))) == 5
    assert len(encode(m.EchoReply(2**13))) == 5
    assert 32_768 < len(encode(m.Echo(1, 32_768))) < 32_784


@pytest.mark.parametrize("num_bytes", [MAX_PADDING_BYTES + 1, 2**20])
def test_a_padding_above_the_limit_is_malformed(num_bytes: int) -> None:
    with pytest.raises(MalformedMessage, match=f"a padding of {num_bytes} bytes is above the 65536"):
        decode(encode(m.Echo(1, num_bytes)))


def test_a_negative_padding_is_told_to_the_sender() -> None:
    with pytest.raises(BadSetting, match="a Echo cannot be sent"):
        encode(m.Echo(1, -1))


@pytest.mark.parametrize("figure", [0.0, -1.0, math.inf, -math.inf, math.nan])
def test_a_way_that_cannot_be_is_left_out_and_a_rate_that_cannot_be_is_none(figure: float) -> None:
    pb = v.status_to_pb(LINKED)
    pb.links[0].rate_bytes_per_s = pb.links[1].round_trip_s = figure
    first = replace(LINKED.links[0], rate_bytes_per_s=None)
    assert v.status_from_pb(pb) == replace(LINKED, links=(first,))


def test_no_more_ways_are_taken_than_a_node_may_tell_of() -> None:
    pb = v.status_to_pb(replace(STATUS, links=LINKED.links * MAX_LINKS))
    assert v.status_from_pb(pb).links == LINKED.links * (MAX_LINKS // 2)
