"""The reader of model files: what it reads, and that no bytes make it do anything but read or refuse."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import ModelCorrupt, ModelError, ModelNotPulled, UnsupportedModel
from mesh.model.gguf import GgufFile
from mesh.model.tensors import TensorType
from tests.model.tiny import write


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _header(num_tensors: int = 0, entries: bytes = b"", num_entries: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_entries) + entries


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def _refused(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        GgufFile.open(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return f"{type(caught.value).__name__}: {text}"


def test_directory_agrees_with_the_reference_reader(tiny_path: Path) -> None:
    reference = gguf.GGUFReader(tiny_path)
    with GgufFile.open(tiny_path) as file:
        assert set(file.tensors) == {tensor.name for tensor in reference.tensors}
        for tensor in reference.tensors:
            info = file.tensors[tensor.name]
            assert info.shape == tuple(int(size) for size in reversed(tensor.shape))
            assert info.type.name == tensor.tensor_type.name
            assert (info.offset, info.num_bytes) == (tensor.data_offset, tensor.n_bytes)
            assert np.array_equal(file.raw(tensor.name), tensor.data.view(np.uint8).reshape(-1))


def test_metadata_of_every_type_is_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "all.gguf", "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -5)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -30_000)
    writer.add_uint64("u64", 2**63)
    writer.add_int64("i64", -(2**62))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_array("words", ["a", "é", ""])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile.open(tmp_path / "all.gguf") as file:
        metadata = file.metadata
    assert (metadata["u8"], metadata["i8"], metadata["u16"], metadata["i16"]) == (200, -5, 60_000, -30_000)
    assert (metadata["u64"], metadata["i64"], metadata["f32"], metadata["f64"]) == (2**63, -(2**62), 0.5, 0.1)
    assert metadata["yes"] is True
    assert metadata["words"] == ("a", "é", "")
    assert metadata["numbers"] == (1, 2, 3)


def test_nested_arrays_are_read(tmp_path: Path) -> None:
    inner = struct.pack("<IQ", 0, 2) + b"\x01\x02"
    nested = _text("n") + struct.pack("<IIQ", 9, 9, 2) + inner * 2
    path = tmp_path / "nested.gguf"
    path.write_bytes(_header(0, nested, 1))
    with GgufFile.open(path) as file:
        assert file.metadata["n"] == ((1, 2), (1, 2))


def test_views_outlive_the_file_and_cannot_be_written(tiny_path: Path) -> None:
    with GgufFile.open(tiny_path) as file:
        view = file.raw("output_norm.weight")
    assert view.view(np.float32).mean() == pytest.approx(1.0, abs=0.2)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="closed"):
        file.raw("output_norm.weight")


def test_unknown_tensor_is_named(tiny_path: Path) -> None:
    with GgufFile.open(tiny_path) as file, pytest.raises(ModelCorrupt, match=r"'no\.such'"):
        file.raw("no.such")


def test_missing_file_says_to_pull(tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled, match=r"nowhere\.gguf"):
        GgufFile.open(tmp_path / "nowhere.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        GgufFile.open(tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ModelCorrupt.*empty"),
        (b"PK\x03\x04 and so on", "ModelCorrupt.*does not start with 'GGUF'"),
        (b"GGUF\x03", "ModelCorrupt.*too early"),
        (_header(version=1), "UnsupportedModel.*version 1; supported: 2 and 3"),
        (_header(version=4), "UnsupportedModel.*version 4"),
        (b"GGUF\x00\x00\x00\x03" + bytes(16), "UnsupportedModel.*big endian"),
        (_header(num_tensors=2**60), "ModelCorrupt.*1152921504606846976 tensors announced"),
        (_header(num_entries=2**63), "ModelCorrupt.*metadata announced"),
        (_header(0, _text("k") + struct.pack("<IIQ", 9, 8, 2**62), 1), "ModelCorrupt.*strings announced"),
        (_header(0, _text("k") + struct.pack("<IIQ", 9, 4, 9) + bytes(9), 1), "ModelCorrupt.*too early"),
        (_header(0, _text("k") + struct.pack("<IQ", 8, 2**64 - 1), 1), "ModelCorrupt.*a string of 18446744"),
        (_header(0, _text("k") + struct.pack("<IQ", 8, 5) + b"abcd", 1), "a string of 5 bytes with 4"),
        (_header(0, _text("k") + struct.pack("<II", 99, 0), 1), "ModelCorrupt.*unknown type 99"),
        (_header(0, _text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9, 1), "deeper than 4"),
        (_header(0, struct.pack("<Q", 1) + b"\xff" + bytes(8), 1), "ModelCorrupt.*not UTF-8"),
        (_header(0, (_text("k") + struct.pack("<IB", 0, 1)) * 2, 2), "ModelCorrupt.*'k' twice"),
        (_header(0, _text("general.alignment") + struct.pack("<II", 4, 0), 1), "ModelCorrupt.*alignment of"),
        (_header(1, _tensor("w", (32,), 10, 0)), "UnsupportedModel.*'w' is of type Q2_K; supported: F32"),
        (_header(1, _tensor("w", (32,), 777, 0)), "UnsupportedModel.*number 777"),
        (_header(1, _tensor("w", (31,), 2, 0) + bytes(99)), r"Corrupt.*'w' of type Q4_0 has shape \[31\]"),
        (_header(1, _tensor("w", (0,), 0, 0)), "ModelCorrupt.*'w'"),
        (_header(1, _tensor("w", (2,) * 5, 0, 0)), "ModelCorrupt.*5 dimensions"),
        (_header(1, _tensor("w", (2**40, 2**40), 0, 0)), "ModelCorrupt.*'w' lies outside"),
        (_header(1, _tensor("w", (1,), 0, 2**63) + bytes(64)), "ModelCorrupt.*'w' lies outside"),
        (_header(1, _tensor("w", (1,), 0, 4) + bytes(99)), "ModelCorrupt.*alignment"),
        (_header(2, _tensor("w", (1,), 0, 0) * 2 + bytes(99)), "ModelCorrupt.*'w' twice"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_one_line_that_says_why(tmp_path: Path, data: bytes, says: str) -> None:
    assert re.search(says, _refused(tmp_path, data))


def test_a_truncated_file_is_refused_at_any_length(tiny_path: Path, tmp_path: Path) -> None:
    whole = tiny_path.read_bytes()
    for length in range(4, len(whole), 997):
        assert _refused(tmp_path, whole[:length]).startswith("ModelCorrupt")


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=9)), max_size=4))
def test_no_altered_header_does_anything_but_open_or_be_refused(
    tiny_path: Path, tmp_path: Path, edits: list[tuple[int, bytes]]
) -> None:
    data = bytearray(tiny_path.read_bytes())
    for at, patch in edits:
        data[at : at + len(patch)] = patch
    path = tmp_path / "altered.gguf"
    path.write_bytes(data)
    try:
        with GgufFile.open(path) as file:
            assert all(file.raw(name).nbytes == info.num_bytes for name, info in file.tensors.items())
    except ModelError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right


def test_supported_types_have_the_reference_block_sizes() -> None:
    for kind in TensorType:
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.name]] == (
            kind.block_size,
            kind.block_bytes,
        )


def test_a_file_of_an_unsupported_type_names_it(tmp_path: Path) -> None:
    path = tmp_path / "q3.gguf"
    path.write_bytes(_header(1, _tensor("w", (256,), 11, 0)))
    supported = "F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, BF16"
    with pytest.raises(UnsupportedModel, match=f"Q3_K; supported: {supported}"):
        GgufFile.open(path)


@pytest.mark.slow
def test_reading_a_file_does_not_load_torch(tiny_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import mesh.model.families; from mesh.model.gguf import *;"
        f"GgufFile.open(Path({str(tiny_path)!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.model
def test_the_real_vocabulary_is_read_whole(smollm2_path: Path) -> None:
    with GgufFile.open(smollm2_path) as file:
        tokens, merges = file.metadata["tokenizer.ggml.tokens"], file.metadata["tokenizer.ggml.merges"]
    assert isinstance(tokens, tuple)
    assert isinstance(merges, tuple)
    assert (len(tokens), len(merges)) == (49_152, 48_900)
    assert tokens[:3] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
