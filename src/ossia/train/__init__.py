"""New weights: seeded dialogues, a tokenizer of their own, and the trainer of the nano model."""
