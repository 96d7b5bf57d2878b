"""The real model in virtual devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.errors import ModelNotPulled, UnknownModel
from mesh.ports import Sampled, Step
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, ChatMessage, Digest, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from simulator.real.maths import EngineMaths, parts
from simulator.real.models import FileLibrary, ModelFiles
from simulator.result import RunResult, Verdict
from simulator.run import run_script
from simulator.script import (
    DeviceScript,
    Fault,
    FaultKind,
    LanScript,
    LinkScript,
    RequestScript,
    Script,
)
from simulator.trace import Kind

pytestmark = [pytest.mark.model, pytest.mark.slow]

NAME, SESSION = "smollm2:135m", SessionId("0" * 16)
PROMPT = "What is the capital of Japan?"


@pytest.fixture(scope="module")
def files(data_dir: Path) -> ModelFiles:
    return ModelFiles(ModelStore(data_dir))


async def test_the_library_reads_without_threads_what_the_device_has(files: ModelFiles) -> None:
    library, bare = FileLibrary(files, [NAME]), FileLibrary(files, [])
    spec = await library.spec(NAME)
    assert [model.name for model in library.models()] == [NAME]
    assert await library.spec_of(spec.digest) == spec
    ids = await library.encode_chat(NAME, [ChatMessage("user", PROMPT)])
    assert len(ids) == 37
    assert bare.models() == ()
    with pytest.raises(ModelNotPulled):
        await bare.spec(NAME)
    with pytest.raises(ModelNotPulled):
        await bare.spec_of(spec.digest)
    with pytest.raises(UnknownModel):
        await library.spec("nope")


def test_a_model_without_a_file_is_one_clear_line(files: ModelFiles) -> None:
    with pytest.raises(UnknownModel, match="this run needs the model's file: no model 'tiny' is known"):
        files.specs(["tiny"])


def test_two_devices_draw_the_tokens_of_the_undivided_engine(data_dir: Path, files: ModelFiles) -> None:
    real = parts(data_dir)
    (spec,) = real.specs((NAME,))
    assert real.reference is not None
    prompt = real.prompt_ids(spec, PROMPT)
    expected, _ = real.reference(spec, prompt, Sampling(), 8, real.stop_ids(spec))
    devices = EngineMaths(files), EngineMaths(files)
    caches: list[CacheKey] = []
    for maths, span in zip(devices, (Span(0, 13), Span(13, 30)), strict=True):
        key = StageKey(spec.digest, span, Precision.INT4)
        assert maths.load(key) == spec.weights_bytes(span, Precision.INT4)
        caches.append(CacheKey(SESSION, key))
        maths.open(caches[-1], 64, Sampling())
    tokens: list[int] = []
    start, ids = 0, prompt
    while len(tokens) < len(expected):
        hidden = devices[0].run(Step(caches[0], start, TokenIds(ids), sample=True))
        assert hidden is not None
        assert not isinstance(hidden, Sampled)
        drawn = devices[1].run(Step(caches[1], start, hidden, sample=True))
        assert isinstance(drawn, Sampled)
        tokens.append(drawn.token)
        start, ids = drawn.position, (drawn.token,)
    assert tuple(tokens) == expected


def household() -> Script:
    link = LinkScript("ethernet", False, 1e9, 1e9, 0.001)
    devices = tuple(
        DeviceScript(name, "mini_pc_n150", "home", "home", link, 80_000_000, (NAME,)) for name in ("a", "b")
    )
    slow = Fault(2.0, FaultKind.SLOW, ("b",), amount=10.0, for_s=1.0)
    request = RequestScript(1, 2.0, "a", NAME, PROMPT, 12)
    return Script(
        "test",
        1,
        8.0,
        8.0,
        (LanScript("home", "home"),),
        devices,
        (request,),
        (slow,),
        always=("exact_tokens",),
    )


def tokens_of(result: RunResult) -> tuple[int, ...]:
    return tuple(int(str(event.details["token"])) for event in result.events if event.kind is Kind.TOKEN)


def test_a_virtual_household_says_what_the_real_model_says(data_dir: Path, files: ModelFiles) -> None:
    real = parts(data_dir)
    first, second = (run_script(household(), real) for _ in range(2))
    assert first.verdict is Verdict.HELD, first.complaints
    assert first.requests[0].num_stages == 2
    codec = files.codec(Digest(files.digest(NAME)))
    pieces = codec.pieces()
    text = "".join(pieces.push(token) for token in tokens_of(first)) + pieces.finish()
    assert text == "The capital of Japan is Tokyo."
    assert first.digest == second.digest
