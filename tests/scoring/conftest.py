"""How many examples the properties are tried on: the profile `ci`, unless HYPOTHESIS_PROFILE says `fuzz`."""

import os

from hypothesis import HealthCheck, settings

# Building a tenant is slow beside scoring it; on a shared machine no deadline is fair.
_calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("ci", parent=_calm, max_examples=200, derandomize=True, database=None)
settings.register_profile("fuzz", parent=_calm, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
