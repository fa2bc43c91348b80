"""The command `mwb`: one file per verb."""


def main() -> int:
    """Run the command line; return its exit code."""
    return 0
