"""Questions about the past and the future: statistics of Runs, starts by the minute, simulation.

May import: engine, crontab, schedule and model.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
