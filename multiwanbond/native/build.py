"""Compiles what can be compiled: `python -m multiwanbond.native.build`.

Needs a C compiler and Python's headers (Debian: gcc, libc6-dev, python3-dev), no others. Without
them everything works all the same, so a failure is told and is no error.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
SOURCE: Final = _HERE / "run_cipher.c"
TARGET: Final = _HERE / "run_cipher.abi3.so"
_FLAGS: Final = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra")


def build() -> str | None:
    """Compile; return None, or why that was not possible.

    A compiled file that is there already stays until the new one is whole.
    """
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        return f"Python's headers are missing: {headers}/Python.h"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    unfinished = TARGET.with_suffix(f".{os.getpid()}")
    command = [*compiler, *_FLAGS, f"-I{headers}", str(SOURCE), "-o", str(unfinished), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{shlex.join(command)}\n{done.stderr.strip()}"
        unfinished.replace(TARGET)
    except FileNotFoundError:
        return f"there is no C compiler {compiler[0]!r}"
    except OSError as exc:
        return f"{TARGET} cannot be written: {exc.strerror}"
    finally:
        unfinished.unlink(missing_ok=True)
    return None


def main() -> int:
    """Compile, or say why not; the exit code is 1 then."""
    problem = build()
    if problem is None:
        return 0
    sys.stderr.write(
        f"The compiled part is left out, and Python does its work: {problem}.\n"
        "On Debian 'apt install gcc libc6-dev python3-dev' brings what is missing; then run\n"
        f"'{sys.executable} -m multiwanbond.native.build'.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
