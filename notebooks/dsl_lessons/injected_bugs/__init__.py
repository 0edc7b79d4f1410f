"""Lesson 07: the method with one thing changed at a time, what that does to a run, and checks that notice it."""
