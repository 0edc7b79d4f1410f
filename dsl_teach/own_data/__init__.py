"""Your own pictures: from a folder of images, or a table of paths and labels, to corrected labels."""
