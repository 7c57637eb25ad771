"""The transformer, its weights and its KV cache."""
