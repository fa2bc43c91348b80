"""What a namespace's network looks like, so that "as it was" can be asserted."""

import json
from typing import Any

from multiwanbond.lab.namespaces import Namespace

_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.src_valid_mark",
)


def kernel_state(namespace: Namespace) -> dict[str, Any]:
    """Return links, addresses, rules, routes, nftables and the sysctls we may touch."""
    rules = namespace.run("nft", "list", "ruleset", check=False).stdout
    return {
        "links": sorted(link["ifname"] for link in _ip(namespace, "link")),
        "addresses": _addresses(namespace),
        "rules": _ip(namespace, "rule") + _ip(namespace, "-6", "rule"),
        "routes": _routes(namespace),
        "nftables": rules,
        "sysctls": namespace.run("sysctl", *_SYSCTLS).stdout,
    }


def _ip(namespace: Namespace, *arguments: str) -> list[dict[str, Any]]:
    said = namespace.run("ip", "-j", *arguments).stdout
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return found


def _addresses(namespace: Namespace) -> list[tuple[str, str]]:
    return sorted(
        (link["ifname"], f"{address['local']}/{address['prefixlen']}")
        for link in _ip(namespace, "addr")
        for address in link["addr_info"]
    )


def _routes(namespace: Namespace) -> list[str]:
    listed = [
        *_ip(namespace, "route", "show", "table", "all"),
        *_ip(namespace, "-6", "route", "show", "table", "all"),
    ]
    keys = ("table", "dst", "gateway", "dev", "metric", "protocol")
    return sorted(str([route.get(key) for key in keys]) for route in listed)
