"""Federations on separate machines: processes, keys, TLS, the SuperLink and the nodes."""
