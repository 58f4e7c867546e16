"""The errors that a verb of pycron(1) tells its user."""


class Failed(Exception):
    """The verb cannot do what was asked; the message tells the user why. Exit status 1."""


class WrongUse(Exception):
    """The arguments contradict each other; the message tells the user why. Exit status 2."""
