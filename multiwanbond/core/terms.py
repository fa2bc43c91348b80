"""How much the operator wants a WAN used; the frame of that name tells the other end."""

from multiwanbond.core.frames import Terms
from multiwanbond.core.settings import DEFAULT_WEIGHT, HealthSettings, WanSettings


def terms_of(health: HealthSettings) -> Terms:
    """Return how much the operator wants a path used that has these limits."""
    if not isinstance(health, WanSettings):
        return Terms(DEFAULT_WEIGHT, 0)
    return Terms(health.weight, round(health.max_bandwidth or 0), health.only_when_needed)
