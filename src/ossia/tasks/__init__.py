"""What is asked, and how it is judged: one source for training and evals."""
