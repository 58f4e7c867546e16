"""The operating system: paths, files, accounts, PAM, host, zone data, inotify, sd_notify, Unix
sockets, cgroups, marks of processes.

May import: schedule and model.
"""
