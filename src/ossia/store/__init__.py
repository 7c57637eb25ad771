"""What is remembered: responses and exact tokens, durable in one SQLite file."""
