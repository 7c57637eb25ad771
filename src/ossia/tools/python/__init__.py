"""The python tool: a notebook for the model, in a sandbox of the operating system."""
