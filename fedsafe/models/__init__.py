"""Load causal language models, LoRA adapters and batched generation."""
