"""`mwb run`: the daemon in the foreground; what systemd starts."""

import argparse
import logging
from functools import partial

from .config_file import add_config_options, file_of, load_runnable


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "run",
        help="run a tunnel in the foreground",
        description="Run a tunnel until Ctrl-C or SIGTERM, and log to stderr. All that it changes "
        "on the machine is taken back at the end. SIGHUP reloads the file, as mwb reload does.",
    )
    add_config_options(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")


def run(args: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop."""
    args.config = file_of(args).absolute()  # what a reload reads, wherever `mwb reload` is called
    configuration = load_runnable(args)
    # After the check of the file: what is wrong there should not wait for trio and pyroute2.
    import trio

    from multiwanbond.daemon.app import run_until_signalled
    from multiwanbond.daemon.linux_machine import LinuxMachine
    from multiwanbond.daemon.measure import measure_ciphers
    from multiwanbond.daemon.plan import plan_for
    from multiwanbond.daemon.reload import Reloader
    from multiwanbond.daemon.report import start_logging
    from multiwanbond.linux.memory import keep_freed_memory

    keep_freed_memory()
    start_logging(logging.DEBUG if args.verbose else logging.INFO)
    costs = measure_ciphers()
    plan = plan_for(configuration, costs)
    reloader = Reloader(configuration, partial(load_runnable, args), costs)
    machine = LinuxMachine(plan.tunnel.name)
    trio.run(partial(run_until_signalled, plan, machine, reloader=reloader))
    return 0
