"""One module for each command of `mesh`; each has a click command named `command`."""
