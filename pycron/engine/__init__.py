"""Events go in, actions come out: the states of a Run, timetable, limits and admission, start
times, retries, deliveries, pauses, diagnosis (`why`).

May import: schedule, model and crontab.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
