"""Shares of a battery as people write them.

Owns the reading of percents.
"""

from __future__ import annotations

import re

from mesh.errors import BadSetting

_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%\s*", re.ASCII)


def parse_share(text: str) -> float:
    """Read '30%' as 0.3, from 0% to 100%.

    Raises BadSetting naming the text for what is no such share, also for a number without the sign.
    """
    found = _PERCENT.fullmatch(text)
    if found is None or float(found[1]) > 100:
        raise BadSetting(f"{text[:80]!r} is no share of a battery; write 0% to 100%, for instance 30%")
    return float(found[1]) / 100
