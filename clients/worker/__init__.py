"""The resident trainer: a process that keeps the base model loaded, and how clients talk to it."""
