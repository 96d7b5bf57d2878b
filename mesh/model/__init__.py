"""The mathematics of the model and of its text: no network, no async."""
