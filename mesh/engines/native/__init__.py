"""The engine of its own kernels, written in C: int4 and int8 on any processor, without torch."""
