"""The app of a deployment: two doors to what is installed on this machine."""
