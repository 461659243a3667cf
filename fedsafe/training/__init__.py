"""One fine-tune, for clients and defenses alike, and the session that owns the model."""
