"""The engine: continuous batching, paged KV cache, sampling."""
