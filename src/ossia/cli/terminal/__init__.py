"""The terminal: input, output and the chat session."""
