"""The same jobs on a cluster."""
