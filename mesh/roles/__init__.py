"""Actors that drive the logic through ports."""
