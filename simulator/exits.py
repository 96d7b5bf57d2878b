"""Exit codes of `mesh-sim` beside those that all our command lines have; see `mesh.console`.

Owns their numbers. 0 is: everything held.
"""

EXIT_BROKEN = 3
"""An invariant was broken, or the simulator itself has a bug."""
EXIT_UNMET = 4
"""Something promised never came."""
