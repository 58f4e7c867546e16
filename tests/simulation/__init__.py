"""A cluster as a model: real coordinators, and a model of everything around them.

Time is a number here, so an hour with a hundred faults takes a second.
"""
