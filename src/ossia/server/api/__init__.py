"""What the routes of OpenAI's API share."""
