"""What every table of `mwb bench` says of itself: the machine, and what was scaled down."""

import os
import platform


def machine() -> str:
    """Return what the figures were measured on, in words."""
    return f"Linux {os.uname().release}, Python {platform.python_version()}, {os.cpu_count()} CPUs"


def origin() -> dict[str, str]:
    """Return what the figures were measured on, as the head of a JSON object."""
    return {"kernel": os.uname().release, "python": platform.python_version()}


def scale_remark(scale: float) -> str:
    """Return what a row says of rates that were multiplied with `scale`; "" if they were not."""
    return "" if scale == 1 else f"  rates x {scale:.2f}"
