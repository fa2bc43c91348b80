"""What the kernel has counted: a process's work, and what befell TCP in a namespace."""

import os
from pathlib import Path
from typing import Final

from multiwanbond.lab.namespaces import Namespace, inside

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return how long a process has kept processors busy, in its own code and in the kernel."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # Fields 14 and 15 of proc(5); field 2, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_seconds() -> float:
    """Return how long all processors together have worked since boot, whoever for."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq = map(int, line[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def tcp_counters(namespace: Namespace) -> dict[str, int]:
    """Return the `TcpExt` counters of a namespace, by the kernel's names."""
    with inside(namespace.name):
        # Not /proc/net: only this thread is inside.
        text = Path("/proc/thread-self/net/netstat").read_text()
    return read_tcp_counters(text)


def read_tcp_counters(text: str) -> dict[str, int]:
    """Return the `TcpExt` counters in the text of `/proc/net/netstat`: a line of names, then one
    of values.
    """
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("TcpExt:"))
    return dict(zip(names, map(int, values), strict=True))


def resident_memory(pid: int) -> int:
    """Return how many bytes of memory a process occupies, shared libraries included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")
