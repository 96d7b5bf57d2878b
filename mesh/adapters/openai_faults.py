"""What each thing that goes wrong with a server like OpenAI's is called.

Owns which error of ours a status, a redirect or an error of the HTTP library is, and that none shows the
key: what a server or the library says may hold it. Must not know what is asked, nor how answers are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from mesh.errors import (
    Concern,
    MeshError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mesh.upstream import UpstreamSettings

ASK_AGAIN = "(ask again, or look at the server)"

_MAX_SHOWN_CHARACTERS = 300  # of a server's message
_MAX_RETRY_S = 86_400.0

_BUSY = (429, 503, 529)
_OUR_FAULT = range(400, 500)
_LATER = (408, 425)  # among those: the server was too slow, or does not want it yet
_CONCERNS = {
    400: Concern.QUESTION,
    404: Concern.MODEL,  # or the path; then each model of the server has its turn
    413: Concern.QUESTION,
    422: Concern.QUESTION,
}
"""What a refusal concerns that is not the whole server."""

_HINTS = {
    401: " (check its key)",
    403: " (check its key)",
    404: " (check its address and the model's name there)",
}

_BEFORE_SENDING = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_HUNG_UP = re.compile("disconnected|closed connection")  # else a breach of the protocol is no HTTP at all


class Faults:
    """Gives what goes wrong with one server a name, and lets no error show its key."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._who = f"the upstream '{settings.card.name}'"

    def unreachable(self, why: str) -> UpstreamUnreachable:
        """Nothing was sent."""
        return UpstreamUnreachable(
            f"{self._who} does not answer at {self._settings.address}: {self._shown(why)}"
        )

    def broken(self, what: str, message: str = "") -> UpstreamBroken:
        """Something was sent, and no answer came, or not all of it."""
        return UpstreamBroken(self._line(what, message))

    def of_status(self, response: httpx2.Response, message: str) -> MeshError:
        """What a status other than success means."""
        status = response.status_code
        if status in _BUSY:
            busy = UpstreamBusy(self._line(f"is busy ({status})", message))
            seconds = _retry_after_s(response.headers)
            return busy if seconds is None else busy.until(seconds)
        if response.is_redirect:
            where = response.headers.get("location", "").partition("?")[0]
            text = self._line(f"redirects ({status}), which is not followed", f"to {where}")
            return UpstreamRefused(text, Concern.SERVER)
        if status in _OUR_FAULT and status not in _LATER:
            text = self._line(f"refused with {status}{_HINTS.get(status, '')}", message)
            return UpstreamRefused(text, _CONCERNS.get(status, Concern.SERVER))
        return self.broken(f"failed with {status}", message)

    def of_error(self, error: httpx2.HTTPError, when: str) -> MeshError:
        """What an error of the library means; its own words are for those who know its parts."""
        if isinstance(error, _BEFORE_SENDING):
            return self.unreachable(str(error) or type(error).__name__)
        if isinstance(error, httpx2.RemoteProtocolError) and not _HUNG_UP.search(str(error)):
            return self.broken("does not speak HTTP (check its address)")
        return self.broken(f"broke the connection off {when} {ASK_AGAIN}")

    @contextmanager
    def mapped(self, when: str = "before it answered") -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except httpx2.HTTPError as error:
            raise self.of_error(error, when) from error
        except OSError as error:  # of TLS in mid-stream, which the library passes on
            raise self.broken(f"broke the connection off {when} {ASK_AGAIN}", str(error)) from error

    def _line(self, what: str, message: str) -> str:
        shown = self._shown(message)
        return f"{self._who} {what}: {shown}" if shown else f"{self._who} {what}"

    def _shown(self, text: str) -> str:
        """One line of a text that others wrote; hidden first, so that no cut leaves a part of the key."""
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        key = self._settings.key
        line = key.hide(printable) if key else " ".join(printable.split())
        return line if len(line) <= _MAX_SHOWN_CHARACTERS else f"{line[:_MAX_SHOWN_CHARACTERS]}…"


def _retry_after_s(headers: httpx2.Headers) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date, compared with the server's own clock."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return min(float(value), _MAX_RETRY_S)
    if (until := _date(value)) is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), _MAX_RETRY_S)


def _date(value: str) -> datetime | None:
    """Read a date of HTTP; one without a zone is of UTC, as all of HTTP's are."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
