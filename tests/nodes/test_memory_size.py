"""Amounts of memory are read as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import BadSetting
from nodes.memory_size import MAX_MEMORY_BYTES, format_memory_size, parse_memory_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("300MB", 300_000_000),
        ("1.5GB", 1_500_000_000),
        ("512MiB", 512 * 2**20),
        ("2G", 2_000_000_000),
        ("1000000", 1_000_000),
        ("1 kb", 1000),
        (" 64kib ", 65_536),
        ("1b", 1),
        ("0.1TB", 100_000_000_000),
        ("1.1GB", 1_100_000_000),
    ],
)
def test_a_size_is_read(text: str, size_bytes: int) -> None:
    assert parse_memory_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "much", "MB", "3,5GB", "1e9", "1.GB", ".5GB", "5 M B", "inf", "nan", "٣MB", "5PB"]
)
def test_what_is_no_size_is_named_with_an_example(text: str) -> None:
    with pytest.raises(BadSetting, match=r"is not an amount of memory; write for instance 300MB") as raised:
        parse_memory_size(text)
    assert f"'{text}'" in str(raised.value)


@pytest.mark.parametrize("text", ["-5MB", "+5MB"])
def test_a_sign_is_no_size(text: str) -> None:
    with pytest.raises(BadSetting):
        parse_memory_size(text)


@pytest.mark.parametrize("text", ["0", "0.0GB", "0.4b", "9" * 30 + "TB"])
def test_what_no_device_can_have_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="cannot be a device's memory"):
        parse_memory_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (300_000_000, "300 MB"),
        (536_870_912, "537 MB"),
        (1_500_000_000, "1.5 GB"),
        (999_999_999, "1 GB"),
    ],
)
def test_a_size_is_written(size_bytes: int, text: str) -> None:
    assert format_memory_size(size_bytes) == text


@given(st.integers(min_value=1, max_value=10**14))
def test_what_is_written_can_be_read_again_within_half_a_percent(size_bytes: int) -> None:
    assert abs(parse_memory_size(format_memory_size(size_bytes)) - size_bytes) <= 0.0051 * size_bytes


def test_plain_bytes_are_exact_up_to_the_largest() -> None:
    assert parse_memory_size(str(MAX_MEMORY_BYTES)) == MAX_MEMORY_BYTES
