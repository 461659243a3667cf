"""What runs on the machine of a client: its node and its resident trainer."""
