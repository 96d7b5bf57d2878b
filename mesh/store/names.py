"""Names of models, and the folders they become.

Owns the rule which text is a model's name; a name that passed it can neither leave the store's folder nor
hide in it. Must not know which models exist.
"""

from __future__ import annotations

import re

from mesh.errors import BadSetting

MAX_NAME_LENGTH = 100
"""Leaves room for the suffixes of partial files under the usual limit of 255 bytes."""

_PART = r"[a-z0-9][a-z0-9._-]*"
_NAME = re.compile(f"{_PART}(?:[:/]{_PART})*")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._-]+")


def is_name(text: str) -> bool:
    """Whether a model may be called so: small letters, digits, '.', '_', '-' in parts joined by ':' or '/'.

    Each part begins with a letter or digit, so none is hidden or climbs up.
    """
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def folder_name(name: str) -> str:
    """Return the folder of a model: its name with ':' and '/' as '-'; raise BadSetting for no name.

    Two names may share a folder (`a:b`, `a-b`); the store refuses the second.
    """
    if not is_name(name):
        raise BadSetting(f"{name[:80]!r} cannot name a model; use small letters, digits and . _ - : /")
    return name.replace(":", "-").replace("/", "-")


def name_from_file(file_name: str) -> str:
    """Derive a model's name from its file's: `Qwen3-0.6B_Q4.gguf` becomes `qwen3-0.6b_q4`.

    Raises BadSetting where nothing is left of it.
    """
    stem = re.sub(r"\.gguf$", "", file_name.lower())
    name = _NOT_IN_A_NAME.sub("-", stem).lstrip("._-")[:MAX_NAME_LENGTH]
    if not is_name(name):
        raise BadSetting(f"{file_name!r} gives no name for a model; rename the file with letters or digits")
    return name
