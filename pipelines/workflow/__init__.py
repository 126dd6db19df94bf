"""Steps shared by the workflows."""
