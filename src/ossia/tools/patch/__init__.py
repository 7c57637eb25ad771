"""The patch tool: parses patches, matches hunks and changes files."""
