"""Constrained decoding: checks JSON schemas and grammars, compiles them to token masks."""
