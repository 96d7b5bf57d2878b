"""Where the simulator meets the real world: torch, gRPC, processes, threads and the clock on the wall.

The only folder of the simulator that may import them. Nothing else of it imports this folder at its top:
a run in virtual time needs none of it.
"""
