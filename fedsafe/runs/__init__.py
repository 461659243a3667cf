"""Run directories: records, events, provenance and file writing."""
