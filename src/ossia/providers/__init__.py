"""Providers of turns: the engine in its own process, and the agent loop around it."""
