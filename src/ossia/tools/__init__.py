"""What the model may do: search, read, compute, change files, ask other programs."""
