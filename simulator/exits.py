"""Exit codes of `mesh-sim`.

Owns their numbers. 0 is: everything held.
"""

EXIT_FAILED = 1
"""Two runs differ, or something could not be done."""
EXIT_USAGE = 2
EXIT_BROKEN = 3
"""An invariant was broken, or the simulator itself has a bug."""
EXIT_UNMET = 4
"""Something promised never came."""
EXIT_INTERRUPTED = 130
