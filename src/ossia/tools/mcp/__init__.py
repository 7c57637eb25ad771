"""Tools of other programs by the Model Context Protocol, and our tools for other programs."""
