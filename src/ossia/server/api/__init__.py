"""Code shared by the routes of OpenAI's API."""
