"""Events go in, actions come out: the states of a Run, timetable, limits and admission, start
times, retries, failure hooks, pauses, diagnosis (`why`).

May import: schedule, model and crontab.

Pure: no clock, file, process or socket. Time comes in as an argument.
"""
