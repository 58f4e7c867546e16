"""Schedules and time: fields, expressions, zones as values, fire times (the DST rule), schedules in
words.

May import: nothing else of pycron.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
