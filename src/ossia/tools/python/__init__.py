"""The python tool: a notebook for the model, behind walls that the operating system holds."""
