"""From the words of a command to runs, and where each run lies."""
