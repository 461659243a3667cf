"""Fine-tuning loop and the resident model session, for clients and defenses."""
