"""Flower as its guides use it: the model is loaded in `train`, the strategy is FedAvg."""
