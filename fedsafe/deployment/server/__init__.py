"""Server machine of a deployment: SuperLink, nginx, certificates, quotas."""
