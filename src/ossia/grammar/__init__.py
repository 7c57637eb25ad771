"""Grammars of message contents: JSON schemas checked, tried and turned into masks of tokens."""
