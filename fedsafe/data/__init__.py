"""Data sources, prompt templates, tokenisation and partitioning across clients.

Knows nothing of models, rounds or roles.
"""
