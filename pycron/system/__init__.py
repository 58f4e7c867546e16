"""The operating system: paths, files, accounts, host, zone data, inotify, sd_notify, Unix sockets,
cgroups.

May import: schedule and model.
"""
