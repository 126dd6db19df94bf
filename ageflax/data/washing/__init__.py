"""What is wrong with the images and people of a dataset."""
