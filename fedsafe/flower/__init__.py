"""Flower's private interface: every name and attribute of it that FedSafe uses.

Outside this package only Flower's public modules are imported (`flwr.app`, `flwr.clientapp`,
`flwr.serverapp`, `flwr.serverapp.strategy`); `tests/architecture/test_flower_imports.py` holds it.

- `internals`: the names, loaded when first used
- `grids`: which kind of grid this is, and the network grid's client
- `http_clients`: the connection inside Flower's clients
- `task_messages`: a message's id, and the task that messages are made in
- `superlink_hooks`: hooks into the SuperLink's process
- `compatibility`: whether the installed flwr has all of it, checked at start
- `environment`: environment variables for Flower's programs
"""
