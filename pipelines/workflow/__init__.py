"""The steps that the workflows are made of."""
