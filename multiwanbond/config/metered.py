"""What the operator may say of a WAN whose bytes are counted by somebody."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from multiwanbond.core.settings import WanSettings
from multiwanbond.options import Reload, option
from multiwanbond.units import SIZE

from .problems import Problems

FIRST_DAY: Final = 1


class QuotaPeriod(Enum):
    """How often a quota begins anew."""

    MONTH = "month"
    DAY = "day"


class QuotaAction(Enum):
    """What becomes of a WAN whose quota is used up."""

    RESERVE = "reserve"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredWan(WanSettings):
    """A WAN, and how much it may carry."""

    quota: float | None = option(
        None,
        notation=SIZE,
        low=1e6,
        high=1e15,
        reload=Reload.LIVE,
        default_doc="no limit",
        doc="Most bytes that the WAN is to carry in a period, both directions and headers "
        "together, for lines that are paid for by the byte (docs/metered.md). The count outlives "
        "restarts; what leaves by the WAN beside the tunnel is not in it.",
    )
    quota_period: QuotaPeriod = option(
        QuotaPeriod.MONTH,
        reload=Reload.LIVE,
        doc="After which time the quota begins anew, at midnight of this machine's time zone.",
    )
    quota_day: int = option(
        FIRST_DAY,
        low=1,
        high=31,
        reload=Reload.LIVE,
        doc="Day of the month on which a quota for a month begins anew; in shorter months the "
        "last one.",
    )
    quota_action: QuotaAction = option(
        QuotaAction.RESERVE,
        reload=Reload.LIVE,
        doc="What happens when the quota is used up: reserve lets the WAN carry packets only "
        "while no other WAN works, as only_when_needed does; off leaves it out of the bond "
        "until the quota begins anew, even if it is the last one.",
    )


def check_quotas(wans: tuple[MeteredWan, ...], problems: Problems) -> None:
    """Complain about what would be said in vain."""
    for index, wan in enumerate(wans):
        is_told = {
            "quota_period": wan.quota_period is not QuotaPeriod.MONTH,
            "quota_day": wan.quota_day != FIRST_DAY,
            "quota_action": wan.quota_action is not QuotaAction.RESERVE,
        }
        for name in (name for name, told in is_told.items() if told and wan.quota is None):
            problems.add_consequence(
                f"wans[{index}].{name}",
                "says nothing without a quota",
                "Add one, such as 'quota: 50GB', or leave this out",
                depends_on=(f"wans[{index}].quota",),
            )
        if wan.quota_period is QuotaPeriod.DAY and wan.quota_day != FIRST_DAY:
            problems.add_consequence(
                f"wans[{index}].quota_day",
                "is for quotas of a month, but quota_period is day",
                "Leave one of them out",
            )
