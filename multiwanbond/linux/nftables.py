"""Tables of nftables by the program `nft`, written as a whole: the kernel takes all or nothing.

The program rather than netlink: rules are a language of their own, its text is what an operator
sees with `nft list ruleset`, and it is written a few times in a daemon's life (6 ms each).
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from multiwanbond.errors import PlatformError, PrivilegeError

FAMILY: Final = "inet"
"""IPv4 and IPv6 in one table; its NAT takes Linux 5.2."""
_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
"""Where to look: a service's PATH may lack sbin."""
_LIMIT: Final = 10.0
"""Seconds; a table takes milliseconds."""
_TABLE: Final = re.compile(rf"^table {FAMILY} (\S+)$", re.MULTILINE)


def is_installed() -> bool:
    """Tell whether there is an `nft` to ask."""
    return shutil.which("nft", path=_PATH) is not None


def tables() -> list[str]:
    """Return the names of all tables of `FAMILY`; none without nft, which alone makes them here."""
    if not is_installed():
        return []
    return _TABLE.findall(_nft("list tables", "nftables' tables"))


def set_table(name: str, rules: str) -> None:
    """Make a table consist of these rules, and of no others, at one stroke.

    Args:
        name: of the table.
        rules: its chains and sets, in nft's language.

    Raises:
        PrivilegeError: not permitted.
        PlatformError: no nft, or the kernel lacks something; the table is as it was.
    """
    # Adding what is there is no error, deleting what is not would be one.
    whole = f"table {FAMILY} {name}\ndelete table {FAMILY} {name}\n"
    _nft(f"{whole}table {FAMILY} {name} {{\n{rules}}}\n", f"nftables' table {name}")


def delete_table(name: str) -> None:
    """Remove a table; one that is not there is fine."""
    if name in tables():
        _nft(f"delete table {FAMILY} {name}\n", f"removing nftables' table {name}")


def _nft(text: str, what: str, *, arguments: Sequence[str] = ("-f", "-")) -> str:
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise PlatformError(
            "The program 'nft' is missing, which forwarding and address translation are set with.",
            "Install it ('apt install nftables'), or set 'gateway.forward: off'.",
        )
    try:
        done = subprocess.run(
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise PlatformError(f"Setting {what} failed: {exc}.", "See 'nft list ruleset'.") from exc
    if done.returncode == 0:
        return done.stdout
    problem = f"Setting {what} failed: {_first_line(done.stderr)}."
    if "not permitted" in done.stderr:
        raise PrivilegeError(problem, "Run as root, or give the process CAP_NET_ADMIN.")
    raise PlatformError(problem, "See 'nft list ruleset', and whether the kernel has nftables.")


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]


def dropping_chains(hook: str) -> list[str]:
    """Return the chains at a hook ("forward", "input") that drop what none of their rules accepts.

    Each as an operator would list it: "ip filter FORWARD". None without nft.
    """
    if not is_installed():
        return []
    # With -j standard input would have to be JSON, too.
    listed = json.loads(_nft("", "nftables' chains", arguments=("-j", "list", "chains")) or "{}")
    chains = [entry["chain"] for entry in listed.get("nftables", []) if "chain" in entry]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == hook and chain.get("policy") == "drop"
    ]
