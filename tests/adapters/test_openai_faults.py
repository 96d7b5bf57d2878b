"""Every error of the HTTP library has a name of ours, and none shows the key."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from mesh.adapters.openai_faults import Faults
from mesh.errors import UpstreamBroken, UpstreamUnreachable
from mesh.upstream import Secret, UpstreamSettings
from tests.adapters.test_openai_upstream import CARD, KEY


def all_errors(root: type[httpx2.HTTPError] = httpx2.HTTPError) -> list[type[httpx2.HTTPError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_of_the_library_is_one_of_ours(error: type[httpx2.HTTPError]) -> None:
    faults = Faults(UpstreamSettings(CARD, "http://127.0.0.1/v1", Secret(KEY)))
    made = error.__new__(error)
    Exception.__init__(made, f"something with {KEY} in it")
    with pytest.raises((UpstreamUnreachable, UpstreamBroken)) as caught, faults.mapped():
        raise made
    is_unsent = error.__name__.startswith("Connect") or error.__name__ in (
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    )
    assert isinstance(caught.value, UpstreamUnreachable) == is_unsent
    assert KEY not in str(caught.value)


def test_an_error_of_tls_in_mid_stream_is_one_of_ours() -> None:
    faults = Faults(UpstreamSettings(CARD, "http://127.0.0.1/v1"))
    with pytest.raises(UpstreamBroken), faults.mapped():
        raise ssl.SSLError("bad record mac")
