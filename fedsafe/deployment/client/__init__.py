"""Client machine of a deployment: SuperNode processes and the resident worker."""
