"""Hypothesis: the same examples in every run of the suite; `make fuzz` looks for new ones."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW
)
settings.register_profile(
    "fuzz", max_examples=100_000, deadline=None, suppress_health_check=_SLOW, print_blob=True
)
settings.load_profile("suite")
