"""Data factory: attack pairs, refusals and helpful answers that a model writes, with a card."""
