"""Modules that a deployment's processes are started from, by what each is called."""

SUPERLINK = "fedsafe.deployment.server.superlink"
LAUNCHER = "fedsafe.flower.launcher"
NODE = "fedsafe.deployment.client.supernode"
TRAINER = "fedsafe.deployment.client.worker_process"
