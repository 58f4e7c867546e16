"""The errors that pycron(1) and pycrontab(1) tell their users."""


class Failed(Exception):
    """The program cannot do what was asked; the message tells the user why. Exit status 1."""


class WrongUse(Exception):
    """The arguments contradict each other; the message tells the user why. Exit status 2."""
