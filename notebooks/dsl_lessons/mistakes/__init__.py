"""The usual mistakes, each as a small wrong function with the sentence that names it.

:mod:`dsl_lessons.checks` compares a reader's function with these. They are wrong on purpose: nothing else may use
them.
"""
