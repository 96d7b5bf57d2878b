"""Text to tokens and back.

Owns byte-level BPE and the place of control tokens in it, and the reading of a GGUF's metadata for it; the
`tokenizers` library merges. Must not know files, torch, or conversations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tokenizers import AddedToken
from tokenizers import Tokenizer as Merger
from tokenizers.models import BPE

from mesh.errors import BadRequest, UnsupportedModel
from mesh.model.pretokenizers import PreTokenization, pre_tokenization
from mesh.model.vocabulary import KEYS, TokenKind, Vocabulary, corrupt, read_list, read_text


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """One model's tokenizer; made by `from_metadata` or `build`, immutable, may be shared by threads."""

    vocabulary: Vocabulary
    control_ids: Mapping[str, int] = field(repr=False)
    """Control tokens by their text."""
    _merger: Merger = field(repr=False)
    """Knows no control token, so what it reads stays text."""
    _control: re.Pattern[str] = field(repr=False)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object]) -> Tokenizer:
        """Build from a GGUF's metadata.

        Raises UnsupportedModel naming a tokenizer or pre-tokenizer that is not supported, and ModelCorrupt
        naming the key that is missing or damaged.
        """
        kind = read_text(metadata, KEYS + "model")
        if kind != "gpt2":
            raise UnsupportedModel(
                f"the model's tokenizer '{kind:.40}' is not supported; take a model of: gpt2"
            )
        vocabulary = Vocabulary.from_metadata(metadata)
        if not vocabulary.stop_ids:
            raise corrupt(KEYS + "eos_token_id", "is missing, so no answer would end")
        rules = pre_tokenization(read_text(metadata, KEYS + "pre"))
        merger = _merger(vocabulary, read_list(metadata, KEYS + "merges", str), rules)
        return cls.build(vocabulary, merger)

    @classmethod
    def build(cls, vocabulary: Vocabulary, merger: Merger) -> Tokenizer:
        """Join a vocabulary and the library's tokenizer for it, which may know no control token."""
        control = vocabulary.ids_of(TokenKind.CONTROL)
        return cls(vocabulary, control, merger, pattern_of(control))

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self.vocabulary.stop_ids

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for; control tokens and unknown ids have none."""
        return self.vocabulary.token_bytes(token)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens; bytes that are no character become U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")

    def encode(self, text: str, *, allow_special: bool = True) -> tuple[int, ...]:
        """Return the tokens of a text, without any that the text does not spell.

        With `allow_special`, a control token's name in the text becomes that token; without, it stays text.
        Bytes that the vocabulary lacks are left out. Raises BadRequest for half a surrogate pair.
        """
        if not allow_special:
            return self._encode_plain(text)
        ids: list[int] = []
        for part in self.split(text):
            ids.extend((part,) if isinstance(part, int) else self._encode_plain(part))
        return tuple(ids)

    def split(self, text: str) -> Iterator[str | int]:
        """Yield a text's runs of plain text and, between them, the ids of its control tokens."""
        # A pattern with one group makes `split` alternate between what it did not match and what it did.
        for at, part in enumerate(self._control.split(text)):
            yield self.control_ids[part] if at % 2 else part

    def _encode_plain(self, text: str) -> tuple[int, ...]:
        try:
            text.encode()  # else the library raises a TypeError that does not say where
        except UnicodeEncodeError as error:
            at = f"U+{ord(text[error.start]):04X}"
            raise BadRequest(f"the text holds half a character ({at}); send well-formed Unicode") from None
        return tuple(self._merger.encode(text, add_special_tokens=False).ids) if text else ()


def pattern_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern with one group that finds any of the texts, the longest first, if there are any."""
    longest_first = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def _merger(vocabulary: Vocabulary, merges: tuple[str, ...], rules: PreTokenization) -> Merger:
    control = int(TokenKind.CONTROL)  # left out, so that no word can be taken for one
    kinds = zip(vocabulary.tokens, vocabulary.kinds, strict=True)
    ids = {text: token for token, (text, kind) in enumerate(kinds) if kind != control}
    merger = Merger(_bpe(ids, merges, rules))
    merger.pre_tokenizer = rules.split()
    if rules.normalizer is not None:
        merger.normalizer = rules.normalizer()
    spelled = vocabulary.ids_of(TokenKind.USER_DEFINED)
    merger.add_tokens([AddedToken(text, normalized=False) for text in spelled])
    return merger


def _bpe(ids: dict[str, int], merges: tuple[str, ...], rules: PreTokenization) -> BPE:
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    if any(" " in right or not right for _, right in pairs):
        raise corrupt(KEYS + "merges", "holds an entry that is not two tokens with a space between")
    try:
        return BPE(ids, pairs, ignore_merges=rules.ignore_merges)
    except Exception as error:  # the library raises nothing narrower for a merge of unknown tokens
        raise corrupt(KEYS + "merges", f"does not fit the tokens ({error!s:.100})") from None
