"""One machine that takes part: its nodes and their resident trainer, kept alive."""
