"""The Responses API: a turn's events as OpenAI's Response object and the stream that builds it."""
