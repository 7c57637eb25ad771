"""The shapes a body may be held to: JSON schemas checked, tried and turned into masks of tokens."""
