"""Harmony, the language of gpt-oss: text to token ids and back. Knows no model and no engine."""
