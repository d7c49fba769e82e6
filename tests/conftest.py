"""What holds for all tests: property tests have no deadline (no timed tests) and are the same in each run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "vhdx",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("vhdx")
