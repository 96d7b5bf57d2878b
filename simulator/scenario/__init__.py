"""Scenarios: TOML files that say which devices there are, what they are asked, and what befalls them."""

from simulator.scenario.expand import expand
from simulator.scenario.reading import load, parse, shipped
from simulator.scenario.schema import Scenario

__all__ = ["Scenario", "expand", "load", "parse", "shipped"]
