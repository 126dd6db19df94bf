"""Pictures of the READMEs."""
