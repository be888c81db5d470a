"""The judge's prompt, and reading a number out of what it says."""
