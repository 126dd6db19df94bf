"""From archives to a built dataset."""
