"""Measuring what a model gets right, through the same door as every caller."""
