"""Sums of two numbers, done in steps that need no carrying in the head.

Owns the steps and their wording. Must not know chance or torch.
"""

from __future__ import annotations


def steps(first: int, second: int) -> str:
    """Say how two numbers are added: ones, tens, both; `27 + 45: 7 + 5 = 12, 20 + 40 = 60, 60 + 12 = 72.`"""
    ones, tens = (first % 10, second % 10), (first - first % 10, second - second % 10)
    parts = [equation(*ones), equation(*tens), equation(sum(tens), sum(ones))]
    return f"{first} + {second}: {', '.join(parts)}."


def equation(first: int, second: int) -> str:
    """Say a sum and its result."""
    return f"{first} + {second} = {first + second}"


def worked(first: int, second: int) -> str:
    """Say the steps of a sum, then the sum."""
    return f"{steps(first, second)} So {equation(first, second)}."
