"""A download goes on where it was cut, and only the expected bytes pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh.errors import PullFailed
from mesh.store.download import NUM_TRIES, download, is_complete
from mesh.store.files import silent
from mesh.store.remote import Remote
from tests.store.conftest import Goods, sha256
from tests.store.server import FileServer


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "a.part"


@pytest.fixture
def remote(server: FileServer, goods: Goods) -> Remote:
    return Remote(server.url, sha256(goods.wheel), len(goods.wheel))


def test_a_cut_connection_is_resumed_at_once_and_no_byte_is_sent_twice(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    server.num_bytes_until_cut = [300_000, 200_000]
    download(remote, partial, silent)
    assert partial.read_bytes() == goods.wheel
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]
    assert server.sent == [(0, 300_000), (300_000, 500_000), (500_000, len(goods.wheel))]


def test_the_next_call_resumes_what_the_last_one_kept(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    server.num_bytes_until_cut = [1000, 0]
    with pytest.raises(PullFailed, match=r"broke off after 0\.0 MB of 1\.0 MB .*pull again: it goes on"):
        download(remote, partial, silent)
    assert partial.read_bytes() == goods.wheel[:1000]
    download(remote, partial, silent)
    assert partial.read_bytes() == goods.wheel
    assert server.ranges[-1] == "bytes=1000-"


def test_a_server_that_only_ever_sends_crumbs_is_given_up(
    server: FileServer, remote: Remote, partial: Path
) -> None:
    server.num_bytes_until_cut = [10] * 100
    with pytest.raises(PullFailed, match="broke off"):
        download(remote, partial, silent)
    assert len(server.asked) == NUM_TRIES
    assert partial.stat().st_size == 10 * NUM_TRIES


def test_progress_counts_from_what_was_there(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    partial.write_bytes(goods.wheel[:400_000])
    seen: list[tuple[int, int | None]] = []
    download(remote, partial, lambda done_bytes, total_bytes: seen.append((done_bytes, total_bytes)))
    assert seen[0][0] > 400_000
    assert seen[-1] == (len(goods.wheel), len(goods.wheel))
    assert seen == sorted(seen)


def test_a_server_without_range_begins_again_from_zero(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    server.honours_range = False
    server.num_bytes_until_cut = [300_000]
    download(remote, partial, silent)
    assert partial.read_bytes() == goods.wheel
    assert server.sent == [(0, 300_000), (0, len(goods.wheel))]


def test_a_file_that_changed_on_the_server_begins_again_from_zero(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    server.num_bytes_until_cut = [300_000, 0]
    with pytest.raises(PullFailed):
        download(remote, partial, silent)
    server.etag = '"two"'
    download(remote, partial, silent)
    assert server.asked[-1].if_range == '"one"'
    assert server.sent[-1] == (0, len(goods.wheel))


@pytest.mark.parametrize("note", ["{broken", "[]", '{"url": "http://elsewhere/", "etag": "\\"one\\""}'])
def test_without_a_note_of_the_same_address_the_range_alone_is_asked(
    server: FileServer, remote: Remote, partial: Path, goods: Goods, note: str
) -> None:
    partial.write_bytes(goods.wheel[:1000])
    partial.with_name("a.part.json").write_text(note)
    download(remote, partial, silent)
    assert (server.asked[0].range, server.asked[0].if_range) == ("bytes=1000-", None)


def test_a_weak_etag_is_not_resumed_by(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    partial.write_bytes(goods.wheel[:1000])
    partial.with_name("a.part.json").write_text(json.dumps({"url": remote.url, "etag": 'W/"one"'}))
    download(remote, partial, silent)
    assert server.asked[0].if_range is None


def test_a_complete_partial_file_is_only_checked(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    partial.write_bytes(goods.wheel)
    assert is_complete(partial, len(goods.wheel), remote.sha256)
    download(remote, partial, silent)
    assert server.sent == [(0, 0)]


@pytest.mark.parametrize("says_length", [True, False])
def test_altered_content_is_thrown_away(
    server: FileServer, remote: Remote, partial: Path, goods: Goods, says_length: bool
) -> None:
    server.content = goods.wheel[:-1] + b"!"
    server.says_length = says_length
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1 sent .* not the expected file"):
        download(remote, partial, silent)
    assert list(partial.parent.iterdir()) == []


def test_a_body_of_unknown_length_is_taken(
    server: FileServer, remote: Remote, partial: Path, goods: Goods
) -> None:
    server.says_length = False
    download(remote, partial, silent)
    assert partial.read_bytes() == goods.wheel


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_names_host_and_status_and_keeps_what_came(
    server: FileServer, remote: Remote, partial: Path, status: int
) -> None:
    partial.write_bytes(b"abc")
    server.status = status
    with pytest.raises(PullFailed, match=rf"127\.0\.0\.1 refused fat-1\.0.*whl: {status} "):
        download(remote, partial, silent)
    assert partial.read_bytes() == b"abc"


def test_an_unreachable_server_is_one_line(server: FileServer, goods: Goods, partial: Path) -> None:
    remote = Remote("http://127.0.0.1:1/a.whl", sha256(goods.wheel), len(goods.wheel))
    with pytest.raises(PullFailed, match=r"Connection refused.*pull again") as raised:
        download(remote, partial, silent)
    assert "\n" not in str(raised.value)
