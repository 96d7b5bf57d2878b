"""A conversation as the text that a model was trained to continue.

Owns the model's jinja2 template and what Hugging Face's templates expect to find around it. Must not know
tokens' ids. A template comes with the model's file, so it is a stranger's program: it runs in a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import CodeType

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateError

from mesh.errors import BadRequest, MeshError, ModelCorrupt
from mesh.model.sandbox import Sandbox
from mesh.types import ChatMessage

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For a model that has no template, but ChatML's tokens."""

PLAIN = "{{ bos_token }}{% for message in messages %}{{ message.content }}\n{% endfor %}"
"""For a model that has neither: the messages, a line each, for it to continue."""

BUDGET = 20_000_000
"""Units of work for one render (see `sandbox`): below a second, below 100 MB."""

BUDGET_PER_CHARACTER = 100
"""What each character of the conversation adds to it."""


class Refused(TemplateError):
    """The template does not take this conversation, by `raise_exception`."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """One model's template, compiled; may be shared by threads."""

    _code: CodeType
    _special: Mapping[str, str]

    @classmethod
    def compile(cls, source: str, special: Mapping[str, str] | None = None) -> ChatTemplate:
        """Compile a template; `special` has the texts of `bos_token`, `eos_token` and their like.

        Raises ModelCorrupt for a template that cannot be read.
        """
        try:
            return cls(Sandbox(BUDGET).compile(source), dict(special or {}))
        except Exception as error:  # jinja2 raises several kinds, a deep template RecursionError
            raise _broken(error) from None

    def render(self, messages: Sequence[ChatMessage], now: datetime) -> str:
        """Return the conversation as text that is ready for the assistant's turn.

        Templates that print the date print that of `now`. Raises BadRequest with the template's own words
        where it refuses the conversation, and ModelCorrupt where it fails or attacks.
        """
        size = sum(len(message.role) + len(message.content) for message in messages)
        sandbox = Sandbox(BUDGET + BUDGET_PER_CHARACTER * size)
        sandbox.globals |= {"raise_exception": _refuse, "strftime_now": now.strftime}
        try:
            return Template.from_code(sandbox, self._code, sandbox.globals).render(self._context(messages))
        except Exception as error:  # a template may divide by zero: anything can come out of it
            raise _verdict(error) from None

    def _context(self, messages: Sequence[ChatMessage]) -> dict[str, object]:
        return {
            "bos_token": "",
            "eos_token": "",
            **self._special,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "add_generation_prompt": True,
            "tools": None,
            "documents": None,
        }


def _verdict(error: Exception) -> MeshError:
    if isinstance(error, Refused):
        return BadRequest(f"the model's chat template refuses this conversation: {_line(error)}")
    return _broken(error)


def _broken(error: Exception) -> ModelCorrupt:
    kind = "is not allowed to run" if isinstance(error, SecurityError) else "does not work"
    return ModelCorrupt(f"the model's chat template {kind} ({_line(error)}); take another file of this model")


def _line(error: Exception) -> str:
    """Return an error's text in one line that fits a terminal."""
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _refuse(message: object) -> None:
    raise Refused(str(message))
