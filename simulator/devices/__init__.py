"""Virtual devices: how fast they compute, how warm they get and how long their batteries last."""
