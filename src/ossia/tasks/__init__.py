"""The tasks and their judges: one source for training and evals."""
