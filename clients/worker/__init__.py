"""Resident training worker: a process that keeps the base model loaded, and its IPC."""
