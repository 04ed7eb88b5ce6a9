"""For all tests: no example of hypothesis is too slow; speed is measured elsewhere."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
