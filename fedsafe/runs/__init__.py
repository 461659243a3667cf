"""What happened: the run directory, its records and events."""
