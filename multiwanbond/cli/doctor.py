"""`mwb doctor`: what keeps the tunnel from working, or from working well, and what to do."""

import argparse
import json
import logging
from typing import TYPE_CHECKING, Final

from multiwanbond.config.model import Configuration, Mode
from multiwanbond.control.status import StatusDocument
from multiwanbond.errors import ConfigFileError

from .config_file import add_config_options, file_of, load_file
from .up import status_of

if TYPE_CHECKING:
    from multiwanbond.daemon.trial import TriedWan

_NAMES: Final = {"good": "ok", "note": "note", "warning": "WARN", "bad": "BAD"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "doctor",
        help="look for what keeps the tunnel from working well",
        description="Examine the machine, the configuration and every WAN, and say what to do "
        "about what is wrong. Without a running daemon a client's server is called over each WAN. "
        "Nothing is changed. Exit code 0: nothing keeps it from working; 1: something does.",
    )
    add_config_options(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Examine, and print what was found."""
    # Here and not above: `mwb --help` needs none of it.
    from multiwanbond.daemon.doctor import Finding, Level, Patient, examine
    from multiwanbond.linux.netlink import Netlink

    logging.getLogger().addHandler(logging.NullHandler())
    findings = []
    configuration: Configuration | None = None
    try:
        configuration = load_file(args)
    except ConfigFileError as exc:
        findings += [Finding(level=Level.BAD, text=str(error)) for error in exc.errors]
    else:
        findings.append(Finding(level=Level.GOOD, text=f"{file_of(args)} can be read."))
    status = None if configuration is None else status_of(configuration.control_socket)
    tried = None
    if configuration is not None and _may_try(configuration, status):
        try:
            tried = _try(configuration)
        except ConfigFileError as exc:
            findings += [Finding(level=Level.BAD, text=str(error)) for error in exc.errors]
    patient = Patient(configuration=configuration, kernel=Netlink(), status=status, tried=tried)
    findings += examine(patient)
    if args.json:
        document = [
            {"level": each.level.value, "text": each.text, "remedy": each.remedy}
            for each in findings
        ]
        print(json.dumps(document, indent=2))
    else:
        for each in findings:
            remedy = f" {each.remedy}" if each.remedy else ""
            print(f"{_NAMES[each.level.value]:<5} {each.text}{remedy}")
    return 1 if any(each.level is Level.BAD for each in findings) else 0


def _may_try(configuration: Configuration, status: StatusDocument | None) -> bool:
    """A trial beside the daemon would take its bond away."""
    return configuration.mode is Mode.CLIENT and status is None


def _try(configuration: Configuration) -> "list[TriedWan]":
    import trio

    from multiwanbond.config.runnable import require_runnable
    from multiwanbond.daemon.measure import measure_ciphers
    from multiwanbond.daemon.plan import plan_for
    from multiwanbond.daemon.trial import try_wans

    plan = plan_for(require_runnable(configuration), measure_ciphers())
    return trio.run(try_wans, plan)
