"""The network of a model: its shape, and which tensors of which shapes a span has.

Owns every canonical name of a tensor or of a key of the metadata. Must not know torch, what a model is kept
in, or how a layer computes. How families differ is in `mesh.model.family`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.checkpoint import Checkpoint
from mesh.model.family import FAMILIES, Family
from mesh.model.metadata import Keys
from mesh.model.quant import dequantise
from mesh.model.tensors import TensorInfo
from mesh.spec import INT4_GROUP, ModelSpec
from mesh.types import Digest, Span

EMBEDDING = "token_embd.weight"
FINAL_NORM = "output_norm.weight"
HEAD = "output.weight"
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Canonical names of the tensors of one layer."""

    layer: int
    kind: str = "blk"

    def _name(self, role: str, part: str = "weight") -> str:
        return f"{self.kind}.{self.layer}.{role}.{part}"

    @property
    def attention_norm(self) -> str:
        """Norm before attention: [hidden]."""
        return self._name("attn_norm")

    @property
    def query(self) -> str:
        """[heads * head_dim, hidden]."""
        return self._name("attn_q")

    @property
    def key(self) -> str:
        """[kv_heads * head_dim, hidden]."""
        return self._name("attn_k")

    @property
    def value(self) -> str:
        """[kv_heads * head_dim, hidden]."""
        return self._name("attn_v")

    @property
    def query_bias(self) -> str:
        """[heads * head_dim]; of models whose attention has biases."""
        return self._name("attn_q", "bias")

    @property
    def key_bias(self) -> str:
        """[kv_heads * head_dim]."""
        return self._name("attn_k", "bias")

    @property
    def value_bias(self) -> str:
        """[kv_heads * head_dim]."""
        return self._name("attn_v", "bias")

    @property
    def query_norm(self) -> str:
        """Norm of each head of q: [head_dim]; of models that norm their heads."""
        return self._name("attn_q_norm")

    @property
    def key_norm(self) -> str:
        """Norm of each head of k: [head_dim]."""
        return self._name("attn_k_norm")

    @property
    def attention_output(self) -> str:
        """[hidden, heads * head_dim]."""
        return self._name("attn_output")

    @property
    def feed_forward_norm(self) -> str:
        """Norm before the feed-forward part: [hidden]."""
        return self._name("ffn_norm")

    @property
    def gate(self) -> str:
        """[intermediate, hidden]."""
        return self._name("ffn_gate")

    @property
    def up(self) -> str:
        """[intermediate, hidden]."""
        return self._name("ffn_up")

    @property
    def down(self) -> str:
        """[hidden, intermediate]."""
        return self._name("ffn_down")


@dataclass(frozen=True, slots=True)
class MtpNames(LayerNames):
    """Canonical names of the tensors for multi-token prediction: a layer, and what is around it."""

    layer: int = 0
    kind: str = "mtp"

    @property
    def hidden_norm(self) -> str:
        """Norm of the hidden state that comes in: [hidden]."""
        return self._name("hidden_layernorm")

    @property
    def token_norm(self) -> str:
        """Norm of the next token's embedding: [hidden]."""
        return self._name("token_layernorm")

    @property
    def joining(self) -> str:
        """Of both, the hidden state first: [hidden, 2 * hidden]."""
        return self._name("input_proj")

    @property
    def final_norm(self) -> str:
        """Norm before the head: [hidden]."""
        return self._name("final_layernorm")


MTP = MtpNames()
"""Of the one layer that is used."""


def family_of(file: Checkpoint) -> Family:
    """Return the family of a model, its rows laid out as this file has them.

    Raises UnsupportedModel naming its architecture and those that run.
    """
    architecture = Keys(file.path, file.metadata, "general.").text("architecture")
    family = FAMILIES.get(architecture)
    if family is None:
        supported = ", ".join(sorted(FAMILIES))
        raise UnsupportedModel(f"{file.path} has architecture '{architecture}'; supported: {supported}")
    return replace(family, interleaved_rotary=file.interleaved_rotary)


def model_spec(file: Checkpoint, name: str, digest: Digest) -> ModelSpec:
    """Read the shape of a model.

    Raises UnsupportedModel for another architecture or a variant that this engine does not compute, and
    ModelCorrupt naming the key or tensor that is missing or wrong.
    """
    family = family_of(file)
    keys = Keys(file.path, file.metadata, f"{family.architecture}.")
    _refuse_variants(file, keys)
    hidden_size, num_heads = keys.count("embedding_length"), keys.count("attention.head_count")
    head_dim = keys.count("attention.key_length", hidden_size // num_heads)
    spec = ModelSpec(
        name=name,
        digest=digest,
        architecture=family.architecture,
        num_layers=keys.count("block_count"),
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=keys.count("attention.head_count_kv", num_heads),
        head_dim=head_dim,
        intermediate_size=keys.count("feed_forward_length"),
        vocab_size=_tensor(file, EMBEDDING).shape[0],
        context_length=keys.count("context_length"),
        rope_base=keys.number("rope.freq_base", 10_000.0),
        rms_norm_eps=keys.number("attention.layer_norm_rms_epsilon", 1e-5),
        tied_embeddings=HEAD not in file.tensors,
        attention_bias=family.attention_bias,
        head_norm=family.head_norm,
        rope_factors=_rope_factors(file, head_dim),
    )
    _check_shape(file, keys, spec)
    _refuse_unknown_tensors(file, spec)
    return _with_mtp(file, family, keys, spec)


def check_tensors(file: Checkpoint, spec: ModelSpec, span: Span) -> None:
    """Raise ModelCorrupt naming the first tensor of a span that is missing or of another shape."""
    for name, shape in _span_shapes(spec, span).items():
        info = _tensor(file, name)
        if info.shape != shape:
            raise ModelCorrupt(
                f"{file.path} has tensor '{info.name}' of shape {list(info.shape)} where {list(shape)} "
                "belongs; pull the model again"
            )


def head_name(spec: ModelSpec) -> str:
    """Name of the tensor that the output head takes."""
    return EMBEDDING if spec.tied_embeddings else HEAD


def _with_mtp(file: Checkpoint, family: Family, keys: Keys, spec: ModelSpec) -> ModelSpec:
    """Add what the model guesses with, or why it has nothing to guess with: it runs without it as well."""
    if not family.mtp:
        is_mimo = "mimo" in str(file.metadata.get("general.name", "")).lower()
        lacks = "GGUF files of MiMo have no MTP layer: take the model's folder" if is_mimo else ""
        return replace(spec, no_mtp=lacks)
    num_layers = keys.count("nextn_predict_layers", 0)
    if num_layers == 0:
        return replace(spec, no_mtp="config.json announces no MTP layer")
    if num_layers > 1:
        return replace(spec, no_mtp=f"{num_layers} MTP layers where one is understood")
    return replace(spec, has_mtp=True) if not (lacks := _lacking(file, spec)) else replace(spec, no_mtp=lacks)


def _lacking(file: Checkpoint, spec: ModelSpec) -> str:
    """Name the first tensor for multi-token prediction that is missing or of another shape."""
    for name, shape in _mtp_shapes(spec).items():
        info = file.tensors.get(name)
        if info is None:
            return f"the MTP layer has no tensor '{file.spell(name)}'"
        if info.shape != shape:
            return f"the MTP layer has '{info.name}' of {list(info.shape)} where {list(shape)} belongs"
    return ""


def _mtp_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    hidden = spec.hidden_size
    around = {
        MTP.hidden_norm: (hidden,),
        MTP.token_norm: (hidden,),
        MTP.joining: (hidden, 2 * hidden),
        MTP.final_norm: (hidden,),
    }
    return _layer_shapes(spec, MTP) | around


def _span_shapes(spec: ModelSpec, span: Span) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    table = (spec.vocab_size, spec.hidden_size)
    if spec.is_first(span) or (spec.is_last(span) and spec.has_mtp):
        shapes[EMBEDDING] = table
    for layer in range(span.start, span.end):
        shapes |= _layer_shapes(spec, LayerNames(layer))
    if spec.is_last(span):
        shapes |= {FINAL_NORM: (spec.hidden_size,), head_name(spec): table}
        shapes |= _mtp_shapes(spec) if spec.has_mtp else {}
    return shapes


def _layer_shapes(spec: ModelSpec, names: LayerNames) -> dict[str, tuple[int, ...]]:
    hidden, intermediate = spec.hidden_size, spec.intermediate_size
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        names.attention_norm: (hidden,),
        names.query: (q_size, hidden),
        names.key: (kv_size, hidden),
        names.value: (kv_size, hidden),
        names.attention_output: (hidden, q_size),
        names.feed_forward_norm: (hidden,),
        names.gate: (intermediate, hidden),
        names.up: (intermediate, hidden),
        names.down: (hidden, intermediate),
    }
    if spec.attention_bias:
        shapes |= {names.query_bias: (q_size,), names.key_bias: (kv_size,), names.value_bias: (kv_size,)}
    if spec.head_norm:
        shapes |= {names.query_norm: (spec.head_dim,), names.key_norm: (spec.head_dim,)}
    return shapes


def _tensor(file: Checkpoint, name: str) -> TensorInfo:
    info = file.tensors.get(name)
    if info is None:
        raise ModelCorrupt(f"{file.path} has no tensor '{file.spell(name)}'; pull the model again")
    return info


def _rope_factors(file: Checkpoint, head_dim: int) -> tuple[float, ...]:
    """Read what the rotary frequencies are divided by, where the model scales them."""
    info = file.tensors.get(ROPE_FACTORS)
    if info is None:
        return ()
    factors = dequantise(file.raw(ROPE_FACTORS), info.type, info.shape)
    if info.shape != (head_dim // 2,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ModelCorrupt(
            f"{file.path} has other things in '{ROPE_FACTORS}' than {head_dim // 2} positive numbers"
        )
    return tuple(float(factor) for factor in factors)


def _refuse_variants(file: Checkpoint, keys: Keys) -> None:
    """Refuse what would run but compute something else than the model means."""
    if keys.count("expert_count", 0):
        raise UnsupportedModel(f"{file.path} is a mixture of experts; supported: dense models")
    scaling = keys.text("rope.scaling.type", "none")
    if scaling != "none":
        raise UnsupportedModel(
            f"{file.path} scales its rotary positions ({scaling}); supported: none, llama3"
        )


def _refuse_unknown_tensors(file: Checkpoint, spec: ModelSpec) -> None:
    """Refuse a layer that has more than we would compute: a bias that is left out makes other answers."""
    known = _span_shapes(spec, spec.whole)
    for name, info in file.tensors.items():
        found = _OF_A_LAYER.match(name)
        if found and int(found[1]) < spec.num_layers and name not in known and not name.endswith(_UNUSED):
            raise UnsupportedModel(
                f"{file.path} has tensor '{info.name}', which the network {spec.architecture} has not; "
                "take another model"
            )


_OF_A_LAYER = re.compile(r"blk\.(\d{1,6})\.")
_UNUSED = ("rotary_emb.inv_freq", "attn_rot_embd.weight")
"""Tables of the rotary positions that old converters wrote out; they follow from the metadata."""


def _check_shape(file: Checkpoint, keys: Keys, spec: ModelSpec) -> None:
    """Check what the arithmetic of layers relies on."""
    if spec.num_layers > len(file.tensors):
        raise ModelCorrupt(f"{file.path} announces {spec.num_layers} layers with {len(file.tensors)} tensors")
    for key in ("rope.dimension_count", "attention.value_length"):
        if keys.count(key, spec.head_dim) != spec.head_dim:
            raise UnsupportedModel(
                f"{file.path} has {keys.prefix}{key} other than its heads' {spec.head_dim}"
            )
    if spec.num_heads % spec.num_kv_heads or spec.head_dim % 2 or not spec.head_dim:
        raise ModelCorrupt(
            f"{file.path} has {spec.num_heads} heads of {spec.head_dim} numbers on {spec.num_kv_heads} "
            "key-value heads; pull the model again"
        )
    widths = (spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size)
    if any(width % INT4_GROUP for width in widths):
        raise UnsupportedModel(f"{file.path} has rows of {widths}; supported: multiples of {INT4_GROUP}")
