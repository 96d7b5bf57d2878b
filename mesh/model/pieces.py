"""One answer's tokens as text, as they come.

Owns the bytes of a character whose last token is still to come. Must not know where tokens come from.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable


class Utf8Pieces:
    """Streaming decode, the `Pieces` of mesh.ports; made with the bytes of each token.

    Whatever the tokens, the pieces together are what decoding all bytes at once gives.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Take the next token and return the text that is now complete, maybe none."""
        return self._decoder.decode(self._token_bytes(token))

    def finish(self) -> str:
        """Return what is left; bytes that are no character become U+FFFD. A second call returns nothing."""
        return self._decoder.decode(b"", final=True)
