"""What the demo amounted to: for people, and as JSON for machines."""

from typing import Any

from .demo import Outcome


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as a JSON object; units are in the names."""
    transfer = outcome.transfer
    return {
        "is_success": outcome.is_success,
        "transfer": {
            "is_intact": transfer.is_intact,
            "bytes": transfer.bytes,
            "sha256": transfer.sha256,
            "seconds": transfer.seconds,
            "mbit": round(transfer.mbit, 1),
            "longest_stall_s": transfer.longest_stall,
            "errors": list(transfer.errors),
        },
        "cut": {
            "wan": outcome.cut_wan,
            "at_s": round(outcome.cut_at, 3),
            "restored_at_s": round(outcome.restored_at, 3),
            "received_bytes": outcome.received_during_cut,
            "noticed_after_s": _rounded(outcome.noticed_after),
            "carried_again_after_s": _rounded(outcome.carried_again_after),
        },
        "wans": [{"name": name, "down_bytes": size} for name, size in outcome.down_bytes.items()],
    }


def lines(outcome: Outcome) -> list[str]:
    """Return the outcome in plain words."""
    transfer = outcome.transfer
    shares = ", ".join(f"{name} {_megabytes(size)}" for name, size in outcome.down_bytes.items())
    return [
        f"Transferred      {_megabytes(transfer.bytes)} in {transfer.seconds:.1f} s,"
        f" {transfer.mbit:.1f} Mbit/s on average ({shares})",
        f"Intact           {_verdict(outcome)}",
        f"Cut survived     {_cut(outcome)}",
        f"Longest stall    {_seconds(transfer.longest_stall)}",
        f"WAN back         {_return(outcome)}",
    ]


def _verdict(outcome: Outcome) -> str:
    transfer = outcome.transfer
    if transfer.is_intact:
        return f"yes, SHA-256 at both ends {transfer.sha256[:16]}..."
    return "NO: " + ("; ".join(transfer.errors) or "it did not end, or the hashes differ")


def _cut(outcome: Outcome) -> str:
    span = _seconds(outcome.restored_at - outcome.cut_at)
    went_on = outcome.received_during_cut > 0
    noticed = (
        ""
        if outcome.noticed_after is None
        else f"; seen as Down after {_seconds(outcome.noticed_after)}"
    )
    return (
        f"{'yes' if went_on else 'NO'}: {_megabytes(outcome.received_during_cut)} came in the"
        f" {span} without {outcome.cut_wan}{noticed}"
    )


def _return(outcome: Outcome) -> str:
    if outcome.carried_again_after is None:
        return f"NO: {outcome.cut_wan} carried no traffic after it was restored"
    after = _seconds(outcome.carried_again_after)
    return f"{outcome.cut_wan} carried traffic again {after} after it was restored"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
