"""For all tests."""

from hypothesis import settings

# Speed is measured in bench/, never asserted by the clock of a machine that may be busy.
settings.register_profile("pycron", deadline=None)
settings.load_profile("pycron")
