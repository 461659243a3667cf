"""Flower ServerApp, round loop, transport and aggregation."""
