"""What a run left on the machine, if anything."""

from pathlib import Path


def processes_of(run: str) -> list[str]:
    """Return the command lines of live processes that mention `run`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if run in command:
            found.append(command)
    return found


def remains_of(run: str) -> list[str]:
    """Return what exists of a run: namespaces, scratch directories, processes."""
    return [
        *(path.name for path in Path("/run/netns").glob(f"{run}*")),
        *(str(path) for path in Path("/run").glob(f"{run}*")),
        *processes_of(run),
    ]
