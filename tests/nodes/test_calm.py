"""A device is measured when its processors are idle, or at last as it is."""

from __future__ import annotations

import pytest

from mesh.now import now_s
from nodes.calm import MOST_LOOKS, until_calm
from simulator.loop import run


@pytest.mark.parametrize(
    ("idle_share", "waited_s"), [(lambda _: 0.9, 1), (lambda now: now > 7, 8), (lambda _: 0.7, MOST_LOOKS)]
)
def test_it_waits_for_a_second_without_much_work(idle_share: object, waited_s: int) -> None:
    assert callable(idle_share)

    async def main() -> None:
        began_s, idle_s, last_s = now_s(), 0.0, now_s()

        def look() -> float:
            nonlocal idle_s, last_s
            elapsed_s, last_s = now_s() - last_s, now_s()
            idle_s += 4 * elapsed_s * float(idle_share(now_s() - began_s))
            return idle_s

        await until_calm(look, num_processors=4)
        assert now_s() - began_s == pytest.approx(waited_s)

    run(main())
