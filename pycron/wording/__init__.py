"""What people read about Jobs and Runs, in a terminal and on the page: times, ends, pauses, advice.

May import: schedule, model and protocol.
"""
