"""What a run looked like, for people: a page, a trace for Perfetto, a story in words.

Everything here reads a `simulator.result.RunResult` and nothing else; it changes no run.
"""
