"""Harmony, the chat format of gpt-oss: renders and parses token ids, without model or engine."""
