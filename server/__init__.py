"""Who leads: the ServerApp, the round loop, and the stages of a run."""
