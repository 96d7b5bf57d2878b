"""Every key of a TOML text is found on the line where it stands; tomllib says which keys there are.

Most texts here say it themselves: each number is the number of its own line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.lines import PathKeys, line_numbers, nearest_line


def leaves(value: object, path: PathKeys = ()) -> Iterator[tuple[PathKeys, object]]:
    """Every value that is no table and no list, with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def tables(value: object, path: PathKeys = ()) -> Iterator[PathKeys]:
    """The place of every table and list."""
    if isinstance(value, dict):
        items: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield (*path, key)
        yield from tables(inner, (*path, key))


def assert_says_its_lines(text: str) -> None:
    document = tomllib.loads(text)
    lines = line_numbers(text)
    numbers = [(path, value) for path, value in leaves(document) if isinstance(value, int)]
    assert numbers
    assert {path: lines.get(path) for path, _ in numbers} == dict(numbers)
    assert all(path in lines for path in tables(document))


TEXTS = {
    "plain keys": "a = 1\n\nb = 3 # b = 4\n# c = 5\nd=5",
    "tables": "[a]\nx = 2\n[b.c]\nx = 4\n[b]\ny = 6\n[ b . d ]\n z = 8",
    "lists of tables": "[[a]]\nx = 2\n[[a]]\nx = 4\n  [[a.b]]\n  y = 6\n  [[a.b]]\n  y = 8\n"
    "[[a]]\n[[a.b]]\ny = 11",
    "a table below the last of a list": "[[a]]\n[[a]]\n[a.b]\nx = 4\n[a.b.c]\nx = 6",
    "a list below a table below a list": "[[a]]\n[a.b]\n[[a.b.c]]\nx = 4\n[[a.b.c]]\nx = 6\n[[a]]\nb.c = 8",
    "dotted keys": "a.b.c = 1\na.b.d = 2\n'a'.\"e\" = 3\na . f = 4",
    "quoted keys": '"a = 9" = 1\n"b # c" = 2\n"\\u00fc\\"" = 3\n\'d"\' = 4\n"" = 5',
    "quoted headers": '["a.b]"]\nx = 2\n[["c ]]"]]\nx = 4',
    "digits as keys": "1 = 1\n[2]\n3.14 = 3",
    "lists over lines": "a = [\n2,\n  3, # 4,\n\n5\n]\nb = 7",
    "lists in lists": "a = [[1, 1],\n[2,\n3], [ ], [3],\n]\nb = 5",
    "inline tables": "a = {b = 1, c.d = 1, e = {f = 1}}\ng = 2\nh = { }\ni = 4",
    "lists of inline tables": "a = [\n {x = 2, y = [2,\n3]},\n {x = 4},\n]\nb = 6",
    "strings that look like keys": "a = \"\"\"\nb = 7\n[c]\n\"\"\"\nd = 5\ne = '''\nf = 1\n'''\ng = 9",
    "strings with quotes in them": 'a = """x""\\"\n""""\nb = 3\n'
    "c = '''x'''''\nd = 5\ne = \"\\\\\"\nf = 7",
    "empty strings": "a = \"\"\nb = 2\nc = ''\nd = 4\ne = \"\"\"\"\"\"\nf = 6\ng = ''''''\nh = 8",
    "strings with brackets and hashes": 'a = ["]", "#", \'}\', 1]\n'
    'b = {c = "}", d = 2}\ne = "# no" # yes\nf = 4',
    "a line that goes on": 'a = """x \\\n\n  y"""\nb = 4',
    "other values": "a = 1979-05-27 07:32:00\nb = 'x'\nc = -inf\nd = 4\ne = 1e3\n"
    "f = [1.5, 0x6, 6]\ng = 07:08:09.5\nh = 8",
    "no end of the last line": "a = 1\nb = [2]",
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_number_stands_on_its_own_line(name: str) -> None:
    text = TEXTS[name]
    assert_says_its_lines(text)
    assert_says_its_lines(text.replace("\n", "\r\n"))
    shifted = line_numbers("# first\n" + text)
    assert shifted == {path: line + 1 for path, line in line_numbers(text).items()}


KEYS = st.sampled_from(["a", "b", "c-d", "1", '"x.y"', "'# z'", '"="'])
STRINGS = st.sampled_from(['"a = 1"', "'[b]'", '"""\n[x]\ny = 1\n"""', "'''\n# }\n'''", '"\\""', "true"])


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> str:
    """A value in which @ stands for a number; lists go over lines."""
    kind = draw(st.integers(0, 3 if depth < 2 else 1))
    if kind == 0:
        return draw(STRINGS)
    if kind == 1:
        return "@"
    items = draw(st.lists(values(depth=depth + 1), max_size=3))
    if kind == 2:
        part = draw(st.sampled_from([", ", ",\n  ", " # ]\n, "]))
        return "[" + draw(st.sampled_from(["", "\n", " # no\n"])) + part.join(items) + " ]"
    keys = draw(st.lists(KEYS, min_size=len(items), max_size=len(items), unique=True))
    return "{ " + ", ".join(f"{key} = {item}" for key, item in zip(keys, items, strict=True)) + " }"


@st.composite
def documents(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        header = ".".join(draw(st.lists(KEYS, min_size=1, max_size=3)))
        parts.append(draw(st.sampled_from(["", f"[{header}]\n", f"[[{header}]]\n", "# [no]\n\n"])))
        parts.extend(f"{key} = {draw(values())}\n" for key in draw(st.lists(KEYS, max_size=3)))
    return "".join(parts)


def numbered(text: str) -> str:
    """Put the line's number for each @."""
    return "\n".join(line.replace("@", str(n)) for n, line in enumerate(text.split("\n"), 1))


@pytest.mark.slow
@given(documents())
def test_any_text_that_tomllib_takes_says_its_lines(text: str) -> None:
    text = numbered(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        line_numbers(text)  # ends, and does not raise
        return
    lines = line_numbers(text)
    for path, value in leaves(document):
        assert path in lines
        if isinstance(value, int) and not isinstance(value, bool):
            assert lines[path] == value
    assert all(path in lines for path in tables(document))


@given(st.text(alphabet="ab[]{}=,.\"'\n\\# 1", max_size=30))
def test_a_text_that_is_no_toml_neither_raises_nor_hangs(text: str) -> None:
    line_numbers(text)


def test_the_files_of_this_project_are_scanned_whole() -> None:
    root = Path(__file__).parents[3]
    for path in [root / "pyproject.toml", *root.glob("mesh/**/*.toml"), *root.glob("simulator/**/*.toml")]:
        text = path.read_text(encoding="utf-8")
        lines = line_numbers(text)
        document = tomllib.loads(text)
        assert all(place in lines for place, _ in leaves(document)), path
        assert all(place in lines for place in tables(document)), path


def test_a_key_that_is_not_there_is_told_by_the_table_around_it() -> None:
    lines = line_numbers("a = 1\n[[b]]\nx = 1\n[[b]]\nx = 2\n")
    assert nearest_line(lines, ("b", 1, "memory")) == 4
    assert nearest_line(lines, ("b", 1, "link", "delay")) == 4
    assert nearest_line(lines, ("c",)) == 1
