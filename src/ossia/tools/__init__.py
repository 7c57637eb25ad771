"""The tools: browser, python, patches, MCP servers, and Python functions."""
