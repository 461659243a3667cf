"""Flower app of a deployment: imports the installed ServerApp and ClientApp."""
