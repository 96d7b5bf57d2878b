"""Guesses that fill a pipeline of stages, in virtual time."""
