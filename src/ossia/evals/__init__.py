"""Evaluations: the accuracy of a model, measured through the public API."""
