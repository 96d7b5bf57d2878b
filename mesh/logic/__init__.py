"""Decisions: pure and synchronous. Events, `now` and a generator come in; what is to be done goes out."""
