"""Model files: what can be had, where they lie, and that they are whole."""
