"""Lesson 07: published mistakes as switches, tried one at a time in the same small run; checks and listings."""
