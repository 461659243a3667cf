"""Examples: where they come from, how they become text and tokens, who gets which.

Knows nothing of models, rounds or roles.
"""
