"""This mesh and llama.cpp measured in turn, on the same model, the same stages and the same cores."""
