"""Aggregate the accepted updates of a round into the next adapter."""
