"""A place where a stranger's template can run: no way out, and no more work than it is given.

Owns the limits that jinja2's own sandbox leaves open. One rule: every loop, call, filter, operator and
output is charged for what it may cost before it runs, and a render has one budget. Strings are charged by
their length; what repeats or joins is charged the product of its operands' sizes, which bounds its result.
Must not know chats or tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_format
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEP = 100
"""Units that a loop's turn or a call costs beside its data: about as long as touching 100 characters."""

ITEM = 20
"""Units that an entry of a list costs beside its text."""

_FREE = frozenset({"length", "count", "first", "last", "default", "d"})
"""Filters that do not touch their data; templates ask for a conversation's length in every turn of a loop."""

_SIZED = (str, list, tuple)

_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{5}|\*)")
_WIDE_FORMAT = re.compile(r"\{[^{}]*:[^{}]*\d{5}")
"""Widths, in a pattern for `%` and for `format`, that no template needs."""


class OutOfBudget(SecurityError):
    """The template would do more work than it was given."""


class Sandbox(ImmutableSandboxedEnvironment):
    """A jinja2 environment for one compilation or one render, with the blanks as chat templates expect them.

    Args:
        budget: units of work; an operation that would pass it raises OutOfBudget instead of running.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: int) -> None:
        self._left = budget
        # Nothing is computed while compiling (`optimized`); each output passes `_charged` (`finalize`).
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=[loopcontrols, _Generation],
            finalize=self._charged,
        )
        del self.globals["lipsum"]
        self.filters["tojson"] = to_json
        metered = {name: self._metered(work) for name, work in self.filters.items() if name not in _FREE}
        self.filters.update(metered)

    def spend(self, units: int = STEP) -> str:
        """Take units from the budget and return no text; raise OutOfBudget once it is used up."""
        self._left -= units
        if self._left < 0:
            raise OutOfBudget("it does too much work")
        return ""

    def join_text(self, *parts: object) -> str:
        """Do the work of the operator `~`."""
        return "".join(str(self._charged(part)) for part in parts)

    def call(self, context: Context, called: object, /, *args: object, **kwargs: object) -> object:
        """Call on the template's behalf, if it is safe and the budget allows it."""
        owner = getattr(called, "__self__", None)
        if isinstance(owner, (str, list, tuple, dict)):
            named = (value for name, value in kwargs.items() if not name.startswith("_"))  # not jinja2's own
            self.spend(self._product(owner, (*args, *named)))
        self.spend()
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Compute one of `intercepted_binops`."""
        if operator == "+":
            self.spend(self._size(left) + self._size(right))
        elif operator == "**":
            self.spend(_power(left, right))
        elif operator == "%":
            self.spend(self._size(left) * self._size(right))
            _refuse(_WIDE, left)
        elif isinstance(left, _SIZED) or isinstance(right, _SIZED):
            self.spend(self._product(1, (left, right)))
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: object) -> Callable[..., str] | None:
        """Let `str.format` be charged by its pattern, as other methods of text are."""
        inner = super().wrap_str_format(value)
        if inner is not None:
            pattern = getattr(value, "__self__", "")
            _refuse(_WIDE_FORMAT, pattern)
            vars(inner)["__self__"] = pattern
        return inner

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Meter().visit(tree)
        return tree

    def _metered(self, work: Callable[..., object]) -> Callable[..., object]:
        @wraps(work)  # keeps jinja2's mark of what it passes first
        def metered(*args: object, **kwargs: object) -> object:
            owner, *others = [arg for arg in args if not isinstance(arg, (Context, EvalContext, Environment))]
            self.spend(STEP + self._product(owner, (*others, *kwargs.values())))
            _refuse(_WIDE, owner if work is do_format else "")
            return work(*args, **kwargs)

        return metered

    def _charged(self, value: object) -> object:
        self.spend(self._size(value))
        return value

    def _product(self, owner: object, others: Iterable[object]) -> int:
        product = self._size(owner)
        for other in others:
            product *= max(1, abs(other) if isinstance(other, int) else self._size(other))
        return product

    def _size(self, value: object) -> int:
        """Return at least how many characters a value prints, and at least 1.

        Counting stops beyond the budget: a list that holds one list many times may have no countable end.
        """
        if isinstance(value, str):
            return max(1, len(value))
        total, waiting = 1, [value]
        while waiting and total <= self._left:
            item = waiting.pop()
            if isinstance(item, str):
                total += len(item)
            elif isinstance(item, (list, tuple, Mapping)):
                total += ITEM * len(item)
                waiting += [*item, *item.values()] if isinstance(item, Mapping) else item
        return total


class _Meter(NodeTransformer):
    """Puts a charge into every body that may run more than once, and takes `~` to where it is charged."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._metered(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._metered(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._metered(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("join_text", node.nodes, node.lineno)

    def _metered(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        fixed_text = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        charge = _call("spend", [nodes.Const(fixed_text)], node.lineno)
        node.body.insert(0, nodes.ExprStmt(charge, lineno=node.lineno))
        return node


class _Generation(Extension):
    """Prints the body of `{% generation %}`, by which templates mark the assistant's words for training."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Do Hugging Face's `tojson`: jinja2's own escapes what HTML would misread."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _call(method: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    """Return a call of the sandbox's own method, which no variable of the template can shadow."""
    called = nodes.EnvironmentAttribute(method, lineno=line)
    return nodes.Call(called, arguments, [], None, None, lineno=line)


def _power(base: object, exponent: object) -> int:
    if not isinstance(base, int) or not isinstance(exponent, int):
        return STEP
    return STEP + base.bit_length() * abs(exponent)


def _refuse(wide: re.Pattern[str], pattern: object) -> None:
    if isinstance(pattern, str) and wide.search(pattern):
        raise OutOfBudget("it pads text to a great width")
