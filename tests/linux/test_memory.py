"""Memory that is freed and wanted again at once is not fetched from the kernel each time."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from multiwanbond.linux.memory import keep_freed_memory

if not keep_freed_memory():
    print("no mallopt")
    raise SystemExit

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

bytearray(1 << 20)
before = faults()
for _ in range(100):
    bytearray(1 << 20)
print(faults() - before)
"""


def test_freed_memory_costs_no_page_faults_when_it_is_used_again() -> None:
    # In a process of its own: what it asks for holds for a whole process.
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stdout.strip()
    if said == "no mallopt":
        pytest.skip("this C library has no mallopt")

    assert int(said) < 100 * 256 // 10  # a fault per page of 4 kB would be 100 * 256
