"""The network: one forward pass over the operations of a backend."""
