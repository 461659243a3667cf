"""Stand-ins for the outside world: tiny models, scripted grids. None of our own code."""
