"""Servers outside the mesh that can be asked instead of it, as values.

Owns what is known of such a server before it is asked, what it is asked, and what it answers. Must not know
how that is sent, where settings are written, or when a server is asked rather than the mesh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn
from urllib.parse import urlsplit

from mesh.decision import Privacy
from mesh.errors import BadSetting, Concern, MeshError, UnknownModel, UpstreamRefused
from mesh.types import ChatMessage, Sampling

A_BASE_URL = "a URL such as http://192.168.1.5:8080/v1"
"""What the address of a server must be, to be told to its owner."""

USUAL_SILENCE_S = 30.0
"""As long as a server may be silent whose owner says nothing of it."""

_CHAT_PATH = "/chat/completions"
_HIDDEN = "[hidden]"
_TELLING_CHARACTERS = 6
"""A run of the key that long is not shown: shorter ones are found in ordinary words."""

_MASKED = re.compile(r"\*\*|\w(?:\.{2,}|…)\w")  # how servers write a key that they show in part


class Secret:
    """A key that nothing shows unless it is asked to: no repr, no copy by field, no pickle.

    Not a dataclass for that reason: `asdict` and encoders would hand the text out.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep a key; raise BadSetting, which does not show it, for what no header can carry."""
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise BadSetting("a key must be one word of printable ASCII characters")
        self._text = text

    def reveal(self) -> str:
        """Return the key, to be sent and for nothing else."""
        return self._text

    def hide(self, text: str) -> str:
        """Return a text without the words that show the key, or a part of it; blanks become single."""
        return " ".join(_HIDDEN if self._is_shown_by(word) else word for word in text.split())

    def _is_shown_by(self, word: str) -> bool:
        return bool(_MASKED.search(word)) or any(run in word for run in self._runs())

    def _runs(self) -> Iterator[str]:
        length = min(_TELLING_CHARACTERS, len(self._text))
        return (self._text[start : start + length] for start in range(len(self._text) - length + 1))

    def __repr__(self) -> str:
        return "Secret()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that a server has."""

    name: str
    """What the mesh calls it."""
    remote_name: str
    """What the server calls it."""
    skills: tuple[str, ...] = ()
    """What it is good at, in the owner's words."""


@dataclass(frozen=True, slots=True)
class UpstreamCard:
    """What others may know of a server: neither its key nor its address."""

    name: str
    models: tuple[UpstreamModel, ...]
    privacy: Privacy = Privacy.CLOUD
    """How far a question goes that is put to it. Nothing leaves the house unless it was said to; so a server
    of which nothing was said is outside."""
    context_length: int | None = None
    """Positions of prompt and answer together, where that is known."""
    tokens_per_s: float | None = None
    """What to expect of it until it was measured."""
    first_token_s: float | None = None
    """Seconds to the first token, to expect until it was measured."""
    silence_s: float = USUAL_SILENCE_S
    """Seconds without a word, before the first token or between two, after which it is taken for broken."""

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if self.privacy is Privacy.DEVICE:
            raise BadSetting(f"the upstream '{self.name}' is in the mesh's house or outside, not the device")
        if not names or len(set(names)) < len(names):
            raise BadSetting(f"the upstream '{self.name}' must have a model, and none twice")

    def model(self, name: str) -> UpstreamModel:
        """Return the model that the mesh calls so; raise UnknownModel, naming those that there are."""
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise UnknownModel(f"the upstream '{self.name}' has no model '{name[:80]}'; it has {known}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """In what a server's requests differ from what most understand."""

    max_tokens_name: str = "max_tokens"
    """What it calls the limit of an answer."""
    left_out: frozenset[str] = frozenset()
    """Fields that it refuses."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """How to reach a server; stays on its node."""

    card: UpstreamCard
    address: str
    """URL that paths like `chat/completions` are put behind; without a slash at its end."""
    key: Secret | None = None
    dialect: Dialect = Dialect()

    def __post_init__(self) -> None:
        if (fault := _fault_of(self.address)) is not None:
            raise BadSetting(fault)


@dataclass(frozen=True, slots=True)
class UpstreamQuestion:
    """What a server is asked."""

    model: str
    """By the mesh's name."""
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    """Temperature, top_p and seed are passed on; no server promises what a seed does. Servers have no common
    words for top_k and min_p, so these are not."""


@dataclass(frozen=True, slots=True)
class UpstreamText:
    """Some more of the answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class UpstreamReasoning:
    """Some more of what the model thinks before it answers, never empty; no part of the answer."""

    text: str


class UpstreamFinish(StrEnum):
    """Why a server's answer ended."""

    STOP = "stop"
    """The model ended it."""
    LENGTH = "length"
    """It reached max_tokens, or the end of the context."""
    FILTERED = "filtered"
    """The server's owner does not let it say more."""


@dataclass(frozen=True, slots=True)
class UpstreamUsage:
    """What a server counted."""

    num_prompt_tokens: int
    num_tokens: int
    """Of the answer, with those that were thought."""


@dataclass(frozen=True, slots=True)
class UpstreamEnd:
    """The answer is complete."""

    reason: UpstreamFinish
    usage: UpstreamUsage | None
    """None where the server does not say."""


UpstreamPiece = UpstreamText | UpstreamReasoning | UpstreamEnd


def concern_of(error: MeshError) -> Concern:
    """What an error of a server concerns; the server, unless it is a refusal that says otherwise."""
    return error.concern if isinstance(error, UpstreamRefused) else Concern.SERVER


def _fault_of(address: str) -> str | None:
    """Say what is wrong with an address, without a text that might be a key; None where it is a good one."""
    if not _is_bare_url(address):
        return f"an address is {A_BASE_URL}, without user, password or query"
    if (port := _wrong_port(address)) is not None:
        return f"{port} is no port; write a number from 1 to 65535, as in http://192.168.1.5:8080/v1"
    base = address.rstrip("/")
    if base.endswith(_CHAT_PATH):
        return f"{_CHAT_PATH} is put behind the address, so leave it out: {base.removesuffix(_CHAT_PATH)}"
    return None if base == address else "an address has no slash at its end"


def _is_bare_url(text: str) -> bool:
    if not text.isprintable() or any(mark in text for mark in " @?#\\"):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _wrong_port(address: str) -> str | None:
    """Return what stands for a port and is none; a text that is no number is not shown."""
    parts = urlsplit(address)
    try:
        return "'0'" if parts.port == 0 else None
    except ValueError:
        port = parts.netloc.rpartition(":")[2]
        return f"'{port[:20]}'" if port.isdigit() else "what stands behind the last colon"
