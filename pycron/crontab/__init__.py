"""The text of a table becomes Jobs and problems.

May import: schedule and model.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
