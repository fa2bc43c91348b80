"""Gbit/s and CPU seconds per GB of one TCP flow through the bond, over two unshaped veth pairs.

Both ends and iperf3 share this machine, and so does whatever else runs on it: CPU is what all
processors did meanwhile. Figures are medians of several runs; offloads on and off take turns, so
that a machine that slows down slows both. Needs root and iperf3.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond
from multiwanbond.lab.topology import Topology, WanSpec

RUNS = 5
SECONDS = 4
TICK = os.sysconf("SC_CLK_TCK")
SETTING = {"on": "auto", "off": "off"}


def busy_seconds() -> float:
    """Return what all processors together have worked since boot, interrupts included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / TICK


def iperf(lab: Topology, host: str) -> dict[str, float]:
    """Send one flow for a while; return its rate and cost."""
    server = lab.server.start("iperf3", "--server", "--one-off", stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    before = busy_seconds()
    command = ("iperf3", "--client", host, "--time", str(SECONDS), "--json")
    report: dict[str, Any] = json.loads(lab.client.run(*command, timeout=60).stdout)
    busy = busy_seconds() - before
    server.wait(10)
    received = report["end"]["sum_received"]
    return {
        "gbit": received["bits_per_second"] / 1e9,
        "cpu_s_per_gb": busy / (received["bytes"] / 1e9),
        "retransmits": report["end"]["sum_sent"]["retransmits"],
    }


def through_bond(offload: str) -> dict[str, float]:
    """Measure one flow through a fresh bond."""
    with Topology([WanSpec(), WanSpec()], purpose="bench") as lab:
        bond = Bond(lab)
        for daemon in bond.daemons:
            daemon.document["tunnel"]["offload"] = SETTING[offload]
            for wan in daemon.document.get("wans", []):
                wan["gso"] = SETTING[offload]
            daemon.write_config()
        bond.start()
        bond.wait_connected()
        return iperf(lab, SERVER_INNER_IPV4)


def plain() -> dict[str, float]:
    """Measure the same flow over one veth pair without a bond."""
    with Topology([WanSpec()], purpose="bench") as lab:
        return iperf(lab, "198.51.100.1")


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}


def main() -> int:
    runs: dict[str, list[dict[str, float]]] = {
        "veth alone": [],
        "offloads on": [],
        "offloads off": [],
    }
    for _ in range(RUNS):
        runs["veth alone"].append(plain())
        for offload in ("on", "off"):
            runs[f"offloads {offload}"].append(through_bond(offload))
    results = {name: medians(measured) for name, measured in runs.items()}
    if "--json" in sys.argv:
        print(json.dumps({"kernel": os.uname().release, "dataplane": results}, indent=2))
        return os.EX_OK
    print(f"Linux {os.uname().release}; one TCP flow, medians of {RUNS} runs of {SECONDS} s")
    print(f"{'':20}{'Gbit/s':>10}{'CPU s/GB':>12}{'retransmits':>14}")
    for name, result in results.items():
        print(f"{name:20}{result['gbit']:10}{result['cpu_s_per_gb']:12}{result['retransmits']:14}")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
