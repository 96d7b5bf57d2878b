"""A file of MiMo-7B's true shape with random weights: as large and as slow as the model.

Owns the shape (36 layers of the qwen2 network, as published) and the numbers' range, which keeps activations
finite. Layers are Q4_1, tables Q8_0. Written tensor by tensor, so that the largest one is all that is ever in
memory. The vocabulary is a borrowed one, filled up to the size.

With its layer for multi-token prediction (MTP) the file is of our own making: the architecture is called mimo
and the layer's tensors have our canonical names. No converter writes such files, and llama.cpp cannot read
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from mesh.model.families import MTP
from mesh.model.gguf import GgufFile
from mesh.store.files import sha256_of
from mesh.store.shelf import ModelStore

_NUM_LAYERS, _HIDDEN, _INTERMEDIATE, _VOCABULARY = 36, 4096, 11_008, 151_680
_NUM_HEADS, _NUM_KV_HEADS, _HEAD_DIM = 32, 8, 128
_CONTEXT, _ROPE_BASE, _NORM_EPS = 32_768, 640_000.0, 1e-5

_GROUP = 32
_STEP = 0.0043  # between two levels of 4 bits: a standard deviation of 0.02, as networks begin with
_MIDDLE = -7.5 * _STEP
_POOL_GROUPS = 1 << 20  # random groups that are drawn once and repeated; no kernel could tell
_UNUSED = 5  # a token's type: never drawn from text

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is to be written."""

    name: str
    shape: tuple[int, ...]
    """Rows and their length, as numpy counts; norms and biases have one dimension."""
    kind: str
    """F32, Q4_1 or Q8_0."""


@dataclass(frozen=True, slots=True)
class MimoShape:
    """Which of the files."""

    num_layers: int = _NUM_LAYERS
    has_mtp: bool = False
    """Whether it has the layer for multi-token prediction."""

    @property
    def name(self) -> str:
        """Of the model in a store."""
        size = "7b" if self.num_layers == _NUM_LAYERS else f"{self.num_layers}-layers"
        return f"mimo-shape:{size}-mtp" if self.has_mtp else f"mimo-shape:{size}"


WHOLE = MimoShape()


def mimo_file(store: ModelStore, vocabulary: Path, shape: MimoShape = WHOLE) -> str:
    """Write the model into a store where it is not there, and return its name; about 5 GB and a minute."""
    if store.whole(shape.name) is None:
        path = store.file_of(shape.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, vocabulary, shape)
        store.adopt(shape.name, sha256_of(path), "benchmarks.mimo_shape")
    return shape.name


def _write(path: Path, vocabulary: Path, shape: MimoShape) -> None:
    writer = GGUFWriter(path, "mimo" if shape.has_mtp else "qwen2")
    _add_shape(writer, shape)
    _add_vocabulary(writer, vocabulary)
    tensors = list(_tensors(shape))
    for one in tensors:
        kind, num_bytes = GGMLQuantizationType[one.kind], _num_bytes(one)
        writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), num_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pools = _pools()
    for one in tensors:
        writer.write_tensor_data(_content(one, pools))
    writer.close()


def _add_shape(writer: GGUFWriter, shape: MimoShape) -> None:
    writer.add_name("MiMo-7B's shape, random weights")
    writer.add_block_count(shape.num_layers)
    if shape.has_mtp:
        writer.add_uint32("mimo.nextn_predict_layers", 1)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_INTERMEDIATE)
    writer.add_head_count(_NUM_HEADS)
    writer.add_head_count_kv(_NUM_KV_HEADS)
    writer.add_rope_freq_base(_ROPE_BASE)
    writer.add_layer_norm_rms_eps(_NORM_EPS)


def _add_vocabulary(writer: GGUFWriter, path: Path) -> None:
    """Borrow a tokenizer; what it lacks of the size is filled up with tokens that no text has."""
    with GgufFile.open(path) as file:
        borrowed = {key: file.metadata[key] for key in file.metadata if key.startswith("tokenizer.")}
    for key, value in borrowed.items():
        match value:
            case str():
                writer.add_string(key, value)
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case _:
                writer.add_array(key, _filled(key, value))


def _filled(key: str, value: object) -> list[str | int]:
    assert isinstance(value, list | tuple | np.ndarray)
    listed = [one if isinstance(one, str) else int(one) for one in value]
    missing = range(len(listed), _VOCABULARY)
    match key:
        case "tokenizer.ggml.tokens":
            return [*listed, *(f"<|unused_{index}|>" for index in missing)]
        case "tokenizer.ggml.token_type":
            return [*listed, *(_UNUSED for _ in missing)]
        case _:
            return listed


def _tensors(shape: MimoShape) -> Iterator[_Tensor]:
    yield _Tensor("token_embd.weight", (_VOCABULARY, _HIDDEN), "Q8_0")
    for layer in range(shape.num_layers):
        yield from _layer(f"blk.{layer}")
    if shape.has_mtp:
        yield from _mtp()
    yield _Tensor("output_norm.weight", (_HIDDEN,), "F32")
    yield _Tensor("output.weight", (_VOCABULARY, _HIDDEN), "Q8_0")


def _layer(prefix: str) -> Iterator[_Tensor]:
    queries, keys = _NUM_HEADS * _HEAD_DIM, _NUM_KV_HEADS * _HEAD_DIM
    rows = {"attn_q": queries, "attn_k": keys, "attn_v": keys}
    for role, count in rows.items():
        yield _Tensor(f"{prefix}.{role}.weight", (count, _HIDDEN), "Q4_1")
        yield _Tensor(f"{prefix}.{role}.bias", (count,), "F32")
    yield _Tensor(f"{prefix}.attn_output.weight", (_HIDDEN, queries), "Q4_1")
    yield _Tensor(f"{prefix}.ffn_gate.weight", (_INTERMEDIATE, _HIDDEN), "Q4_1")
    yield _Tensor(f"{prefix}.ffn_up.weight", (_INTERMEDIATE, _HIDDEN), "Q4_1")
    yield _Tensor(f"{prefix}.ffn_down.weight", (_HIDDEN, _INTERMEDIATE), "Q4_1")
    for role in ("attn_norm", "ffn_norm"):
        yield _Tensor(f"{prefix}.{role}.weight", (_HIDDEN,), "F32")


def _mtp() -> Iterator[_Tensor]:
    yield from _layer(f"{MTP.kind}.{MTP.layer}")
    yield _Tensor(MTP.joining, (_HIDDEN, 2 * _HIDDEN), "Q4_1")
    for norm in (MTP.hidden_norm, MTP.token_norm, MTP.final_norm):
        yield _Tensor(norm, (_HIDDEN,), "F32")


_GROUP_BYTES = {"Q4_1": 2 + 2 + _GROUP // 2, "Q8_0": 2 + _GROUP, "F32": 4 * _GROUP}


def _num_bytes(one: _Tensor) -> int:
    return int(np.prod(one.shape)) // _GROUP * _GROUP_BYTES[one.kind]


def _pools() -> dict[str, Bytes]:
    """Random groups of each kind as the format lays them out: scale, minimum, levels."""
    rng = np.random.default_rng(0)
    four = rng.integers(0, 256, (_POOL_GROUPS, _GROUP_BYTES["Q4_1"]), dtype=np.uint8)
    four[:, :4] = np.array([_STEP, _MIDDLE], dtype=np.float16).view(np.uint8)
    eight = rng.integers(0, 256, (_POOL_GROUPS, _GROUP_BYTES["Q8_0"]), dtype=np.uint8)
    eight[:, :2] = np.array([_STEP / 16], dtype=np.float16).view(np.uint8)
    return {"Q4_1": four.reshape(-1), "Q8_0": eight.reshape(-1)}


def _content(one: _Tensor, pools: dict[str, Bytes]) -> Bytes | NDArray[np.float32]:
    """A tensor as it lies in the file: norms are ones, biases zeros, all else from a pool."""
    if one.kind == "F32":
        value = 0.0 if one.name.endswith(".bias") else 1.0
        return np.full(one.shape, value, dtype=np.float32)
    return np.resize(pools[one.kind], _num_bytes(one))
