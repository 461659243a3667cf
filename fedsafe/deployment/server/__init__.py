"""What runs on the machine of the server: SuperLink, nginx, certificates, quotas."""
