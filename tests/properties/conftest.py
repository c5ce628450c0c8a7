"""Few examples, always the same ones, in the gate; HYPOTHESIS_PROFILE=long tries many, and others each time."""

import os

from hypothesis import HealthCheck, settings

_ANY = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("gate", max_examples=25, derandomize=True, database=None, **_ANY)
settings.register_profile("long", max_examples=2000, **_ANY)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
