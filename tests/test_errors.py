"""The tree of errors is complete, as drawn, and travels."""

from __future__ import annotations

import asyncio

import pytest

from mesh import errors
from mesh.errors import (
    BadRequest,
    Busy,
    InternalError,
    MeshError,
    StageLost,
    first_of,
    from_code,
    retry_after_s,
)


def all_errors(root: type[MeshError] = MeshError) -> list[type[MeshError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def drawn() -> dict[str, str]:
    """Each error of the docstring's tree with its parent."""
    assert errors.__doc__
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if "──" not in line and line.strip() != "MeshError":
            continue
        depth = 0 if line.strip() == "MeshError" else line.index("──") // 4
        path = [*path[:depth], line.replace("│", " ").strip("├└─ ").split()[0]]
        parents[path[-1]] = path[-2] if depth else "Exception"
    return parents


def test_the_tree_is_as_drawn() -> None:
    assert {error.__name__: error.__bases__[0].__name__ for error in all_errors()} == drawn()


def test_every_code_is_unique() -> None:
    codes = [error.code for error in all_errors()]
    assert len(codes) == len(set(codes))
    assert all("code" in vars(error) for error in all_errors())


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_an_error_travels_by_its_code(error: type[MeshError]) -> None:
    rebuilt = from_code(error.code, "what happened")
    assert type(rebuilt) is error
    assert str(rebuilt) == "what happened"


def test_a_code_of_a_newer_version_becomes_an_internal_error_that_names_it() -> None:
    rebuilt = from_code("quantum_decoherence", "what happened")
    assert type(rebuilt) is InternalError
    assert str(rebuilt) == "what happened (quantum_decoherence)"


@pytest.mark.parametrize("error", [e for e in all_errors() if issubclass(e, BadRequest)])
def test_what_the_caller_must_change_is_not_worth_a_second_try(error: type[MeshError]) -> None:
    assert not error.retry


async def fail(error: MeshError) -> None:
    raise error


async def fail_in_a_group(error: MeshError) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail(error))


async def test_the_first_error_is_found_in_groups_of_groups() -> None:
    lost = StageLost("tv")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail_in_a_group(lost))
    assert first_of(caught.value) is lost


def test_who_is_full_says_when_to_try_again_in_words_too_and_once() -> None:
    full = Busy("no room").until(2.6)
    assert (str(full), full.retry_after_s) == ("no room; try again in about 3 s", 3.0)
    assert full.until(20) is full
    assert Busy("no room").until(0.001).retry_after_s == 1.0
    again = from_code(full.code, str(full), retry_after_s(full))
    assert isinstance(again, Busy)
    assert (str(again), again.retry_after_s) == (str(full), 3.0)
    assert retry_after_s(InternalError("a bug")) is None
