"""A MiMo of under two million parameters, trained for real: its text, its network, its folder."""
