"""Exercises of the lessons: checks of a reader's own functions, and listings to find the bug in."""
