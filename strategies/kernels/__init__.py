"""Numerical kernels of the rules: blockwise passes over the (n, d) matrix of updates."""
