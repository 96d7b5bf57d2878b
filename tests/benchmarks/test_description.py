"""What a processor can."""

from __future__ import annotations

from benchmarks.beside.description import abilities


def test_abilities_that_matter_are_found_whole_words_only() -> None:
    assert abilities("model name\t: x\nflags\t\t: fpu avx2 avx512_vnnix amx_int8\n") == ["avx2", "amx_int8"]


def test_an_unknown_machine_has_none() -> None:
    assert abilities("") == []
