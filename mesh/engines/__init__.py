"""Engines: what computes the stages of a node. See README.md for how to add one."""
