"""What a run is made of beside its script: the parts that can be replaced.

Owns the defaults: the production node on virtual ports, and a token function for the mathematics. Tests plant
bugs by replacing a part; `simulator.real.maths` brings the real model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mesh.ports import Library, Listener
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.spec import ModelSpec
from mesh.types import ChatMessage, FinishReason, NodeRecord, Sampling
from simulator.library import ByteCodec, MemoryLibrary
from simulator.profiles import model_spec
from simulator.token_function import Maths, TokenFunction, reference_tokens

Specs = tuple[ModelSpec, ...]

Reference = Callable[
    [ModelSpec, tuple[int, ...], Sampling, int, frozenset[int]], tuple[tuple[int, ...], FinishReason]
]
"""From model, prompt, sampling, max_tokens and stop ids to the answer of the undivided model."""


def _prompt_ids(spec: ModelSpec, prompt: str) -> tuple[int, ...]:
    return ByteCodec().encode_chat((ChatMessage("user", prompt),))


def _stop_ids(spec: ModelSpec) -> frozenset[int]:
    return ByteCodec().stop_ids


def _specs(models: tuple[str, ...]) -> Specs:
    return tuple(model_spec(model) for model in models)


@dataclass(frozen=True, slots=True)
class Parts:
    """Functions that make what a virtual device consists of."""

    specs: Callable[[tuple[str, ...]], Specs] = _specs
    """Shapes of models, by name; raises BadSetting for one that is not known."""
    maths: Callable[[Specs], Maths] = TokenFunction
    """What one life of a device computes with."""
    library: Callable[[Specs], Library] = MemoryLibrary
    """The models on a device's disk."""
    reference: Reference | None = reference_tokens
    """None: nobody knows what the tokens should be."""
    prompt_ids: Callable[[ModelSpec, str], tuple[int, ...]] = _prompt_ids
    """A prompt as the library's codec encodes it."""
    stop_ids: Callable[[ModelSpec], frozenset[int]] = _stop_ids
    """Tokens by which the library's codec says that an answer ends."""
    node: Callable[[NodeRecord, Listener, Ports, NodeSettings], Node] = Node
