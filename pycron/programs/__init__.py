"""The programs: parse the command line, call, print."""
