"""The node agent: composition root, device probe and command line."""
