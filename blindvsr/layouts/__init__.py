"""Data sets as their authors and the toolboxes lay them out."""
