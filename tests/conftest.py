"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine fails no property: no example has a time to keep.
settings.register_profile("switchboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("switchboard"), max_examples=5000)
settings.load_profile("switchboard")
