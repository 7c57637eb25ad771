"""The wire: OpenAI's API over HTTP. It computes nothing of the model."""
