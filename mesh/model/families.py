"""Families of networks: what a file calls their tensors, and how they differ.

Owns every name of a tensor or of a key of the metadata, and the shapes that tensors must have. A new
family is one `Family` here. Must not know torch or how a layer computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.gguf import GgufFile, TensorInfo, Value
from mesh.spec import INT4_GROUP, ModelSpec
from mesh.types import Digest, Span

EMBEDDING = "token_embd.weight"
FINAL_NORM = "output_norm.weight"
HEAD = "output.weight"


@dataclass(frozen=True, slots=True)
class Family:
    """How one architecture differs from the plain Llama network."""

    architecture: str
    """Name in the file's metadata, and prefix of its keys."""
    interleaved_rotary: bool
    """Whether rows of q and k are stored for rotary pairs (0, 1), (2, 3)... instead of (i, i + half)."""


FAMILIES = {family.architecture: family for family in (Family("llama", interleaved_rotary=True),)}


@dataclass(frozen=True, slots=True)
class LayerNames:
    """What a file calls the tensors of one layer."""

    layer: int

    def _name(self, role: str) -> str:
        return f"blk.{self.layer}.{role}.weight"

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


def family_of(file: GgufFile) -> Family:
    """Return the family of a file; raise UnsupportedModel naming its architecture and those that run."""
    architecture = _Keys(file, "general").text("architecture")
    family = FAMILIES.get(architecture)
    if family is None:
        supported = ", ".join(sorted(FAMILIES))
        raise UnsupportedModel(f"{file.path} has architecture '{architecture}'; supported: {supported}")
    return family


def model_spec(file: GgufFile, name: str, digest: Digest) -> ModelSpec:
    """Read the shape of a model.

    Raises UnsupportedModel for another architecture or a variant that this engine does not compute, and
    ModelCorrupt naming the key or tensor that is missing or wrong.
    """
    family = family_of(file)
    keys = _Keys(file, family.architecture)
    _refuse_variants(file, keys)
    hidden_size, num_heads = keys.count("embedding_length"), keys.count("attention.head_count")
    spec = ModelSpec(
        name=name,
        digest=digest,
        architecture=family.architecture,
        num_layers=keys.count("block_count"),
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=keys.count("attention.head_count_kv", num_heads),
        head_dim=keys.count("attention.key_length", hidden_size // num_heads),
        intermediate_size=keys.count("feed_forward_length"),
        vocab_size=_tensor(file, EMBEDDING).shape[0],
        context_length=keys.count("context_length"),
        rope_base=keys.number("rope.freq_base", 10_000.0),
        rms_norm_eps=keys.number("attention.layer_norm_rms_epsilon", 1e-5),
        tied_embeddings=HEAD not in file.tensors,
    )
    _check_shape(file, keys, spec)
    return spec


def check_tensors(file: GgufFile, spec: ModelSpec, span: Span) -> None:
    """Raise ModelCorrupt naming the first tensor of a span that is missing or of another shape."""
    for name, shape in _span_shapes(spec, span).items():
        info = _tensor(file, name)
        if info.shape != shape:
            raise ModelCorrupt(
                f"{file.path} has tensor '{name}' of shape {list(info.shape)} where {list(shape)} belongs; "
                "pull the model again"
            )


def head_name(spec: ModelSpec) -> str:
    """Name of the tensor that the output head takes."""
    return EMBEDDING if spec.tied_embeddings else HEAD


def _span_shapes(spec: ModelSpec, span: Span) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    table = (spec.vocab_size, spec.hidden_size)
    if spec.is_first(span):
        shapes[EMBEDDING] = table
    for layer in range(span.start, span.end):
        shapes |= _layer_shapes(spec, LayerNames(layer))
    if spec.is_last(span):
        shapes |= {FINAL_NORM: (spec.hidden_size,), head_name(spec): table}
    return shapes


def _layer_shapes(spec: ModelSpec, names: LayerNames) -> dict[str, tuple[int, ...]]:
    hidden, intermediate = spec.hidden_size, spec.intermediate_size
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    return {
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


def _tensor(file: GgufFile, name: str) -> TensorInfo:
    info = file.tensors.get(name)
    if info is None:
        raise ModelCorrupt(f"{file.path} has no tensor '{name}'; pull the model again")
    return info


def _refuse_variants(file: GgufFile, keys: _Keys) -> None:
    """Refuse what would run but compute something else than the model means."""
    if keys.count("expert_count", 0):
        raise UnsupportedModel(f"{file.path} is a mixture of experts; supported: dense models")
    scaling = keys.text("rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise UnsupportedModel(f"{file.path} scales its rotary positions ({scaling}); supported: none")


def _check_shape(file: GgufFile, keys: _Keys, spec: ModelSpec) -> None:
    """Check what the arithmetic of layers relies on."""
    if spec.num_layers > len(file.tensors):
        raise ModelCorrupt(f"{file.path} announces {spec.num_layers} layers with {len(file.tensors)} tensors")
    for key in ("rope.dimension_count", "attention.value_length"):
        if keys.count(key, spec.head_dim) != spec.head_dim:
            raise UnsupportedModel(f"{file.path} has {keys.full(key)} other than its heads' {spec.head_dim}")
    if spec.num_heads % spec.num_kv_heads or spec.head_dim % 2:
        raise ModelCorrupt(
            f"{file.path} has {spec.num_heads} heads of {spec.head_dim} numbers on {spec.num_kv_heads} "
            "key-value heads; pull the model again"
        )
    widths = (spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size)
    if any(width % INT4_GROUP for width in widths):
        raise UnsupportedModel(f"{file.path} has rows of {widths}; supported: multiples of {INT4_GROUP}")


class _Keys:
    """Typed access to the metadata under one prefix."""

    def __init__(self, file: GgufFile, prefix: str) -> None:
        self._file = file
        self._prefix = prefix

    def full(self, key: str) -> str:
        """Spell the key as the file does."""
        return f"{self._prefix}.{key}"

    def text(self, key: str, default: str | None = None) -> str:
        """Read a string."""
        value = self._value(key, default)
        return value if isinstance(value, str) else self._wrong(key, value, "a string")

    def count(self, key: str, default: int | None = None) -> int:
        """Read a whole number; 0 only where that is the default."""
        value, least = self._value(key, default), 0 if default == 0 else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            return self._wrong(key, value, "a count")
        return value

    def number(self, key: str, default: float) -> float:
        """Read a positive finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            return self._wrong(key, value, "a positive number")
        return float(value)

    def _value(self, key: str, default: Value | None) -> Value:
        value = self._file.metadata.get(self.full(key), default)
        if value is None:
            raise ModelCorrupt(f"{self._file.path} has no metadata '{self.full(key)}'; pull the model again")
        return value

    def _wrong(self, key: str, value: Value, wanted: str) -> NoReturn:
        shown = repr(value)[:40]
        raise ModelCorrupt(f"{self._file.path} has {shown} as '{self.full(key)}' where {wanted} belongs")
