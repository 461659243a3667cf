"""The micro world: a harmless synthetic world of instructions with an exact judge.

A Llama of a few hundred thousand parameters masters it, so that the whole
laboratory runs in minutes on a laptop. It is a wind tunnel, not a benchmark.
"""
