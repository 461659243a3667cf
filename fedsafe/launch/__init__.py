"""Where it runs: in this process, in Flower's simulation, on separate machines."""
