"""Training: batches, a tokenizer, the network and the trainer of the nano model."""
