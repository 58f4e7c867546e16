"""The words of pycron as values: Job, Run, Attempt, Outcome, settings, problems, pauses and their
scopes; text made printable.

May import: schedule.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
