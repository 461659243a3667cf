"""Client side of the federation: Flower ClientApp, local training, malicious clients."""
