"""What a gateway refuses before it plans anything."""

from __future__ import annotations

import math

import pytest

from mesh.config import MAX_CONVERSATION_BYTES
from mesh.errors import BadRequest, BadSetting
from simulator.loop import run
from tests.roles.world import ROOMY, a_home


@pytest.mark.parametrize("deadline_s", [math.nan, -1.0, -math.inf])
def test_a_deadline_that_means_nothing_is_refused(deadline_s: float) -> None:
    """Asyncio orders its timers by time: one that is not a number would hold up all others."""

    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            with pytest.raises(BadSetting, match=f"deadline_s is {deadline_s}; it must be 0 or more"):
                await home.client("phone").chat("hi", deadline_s=deadline_s).text()

    run(main())


def test_an_endless_deadline_is_as_good_as_none() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            assert await home.client("phone").chat("hi", max_tokens=3, deadline_s=math.inf).text()

    run(main())


def test_a_conversation_that_no_context_could_hold_is_refused() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            client = home.client("phone")
            with pytest.raises(BadRequest, match=f"has {MAX_CONVERSATION_BYTES + 1} bytes; at most"):
                await client.chat("x" * (MAX_CONVERSATION_BYTES + 1)).text()

    run(main())
