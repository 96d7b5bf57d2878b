"""Gateways that plan by speed share what is loaded, though each would have another chain for itself alone."""

from __future__ import annotations

from dataclasses import replace

from simulator.run import run_script
from simulator.trace import Kind
from tests.simulator.scripts import a_device, a_request, a_script

MEMORY = 75_000_000  # the best chains of two gateways do not fit beside each other, two sessions on one do


def test_two_gateways_that_ask_in_turn_use_one_chain_and_nobody_is_turned_away() -> None:
    devices = [
        replace(a_device(name, MEMORY, profile), is_measured=True)
        for name, profile in (
            ("a", "laptop_ryzen_ai_340"),
            ("b", "xiaomi_15_ultra"),
            ("c", "laptop_ryzen_ai_340"),
        )
    ]
    requests = tuple(
        a_request(number, 2.0 + 0.7 * number, "ac"[number % 2], max_tokens=60) for number in range(12)
    )
    result = run_script(a_script(*devices, requests=requests))
    assert result.complaints == ()
    assert result.figures.num_answered == len(requests)
    spans = {
        (event.device, event.details["span_start"]) for event in result.events if event.kind is Kind.COMPUTED
    }
    assert len(spans) == len({device for device, _ in spans}) == 3
