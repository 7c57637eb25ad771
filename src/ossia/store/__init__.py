"""Durable state: responses and exact tokens in one SQLite file, API keys in another file."""
