"""One machine that leads a federation: SuperLink, front and ServerApp, kept alive."""
