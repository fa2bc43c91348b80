"""Finds the verb, runs it, and turns what it raises into a message and an exit code."""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

from multiwanbond import __version__
from multiwanbond.errors import LocalProtocolError, MultiWanBondError, UsageError

VERBS: Final = {
    "init": "set this machine up, after a few questions",
    "join": "make this machine a client, by a server's invitation",
    "invite": "add a client to this server",
    "revoke": "take a client out of this server",
    "clients": "list the clients of this server",
    "up": "start a tunnel and wait until it is connected",
    "down": "stop a tunnel and clean up",
    "reload": "let a running tunnel follow its changed file",
    "status": "show how a running tunnel does",
    "top": "watch a running tunnel",
    "run": "run a tunnel in the foreground",
    "check": "say what is wrong with the configuration, or what it means",
    "doctor": "look for what keeps the tunnel from working well",
    "config": "explain the settings, or show those in force",
    "plugins": "list the plugins that are installed, or explain one",
    "keygen": "make a private key",
    "pubkey": "turn a private key into its public key",
    "genpsk": "make a preshared key",
    "demo": "show a bond at work on this machine",
    "simulate": "show what the bond makes of standard line mixes",
    "bench": "measure the bond on this machine, over emulated lines",
}
"""Verb and help, in the order of `mwb --help`; each is a module here with `add_parser(subparsers)`
and `run(args) -> exit code`."""

_INTERRUPTED: Final = 130
"""What shells use for a process that SIGINT ended: 128 + 2."""


class Parser(argparse.ArgumentParser):
    """argparse, but errors are raised with our exit code, and options are not abbreviated."""

    def __init__(self, *args: object, **settings: object) -> None:
        settings.setdefault("allow_abbrev", False)
        super().__init__(*args, **settings)  # type: ignore[arg-type]  # passed on as they came

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of exiting with 2, which sysexits does not know."""
        raise UsageError(f'{message}. See "{self.prog} --help".')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default that of the process); return its exit code."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, where a broken pipe is caught
        return code
    except LocalProtocolError:
        raise  # our bug: the traceback is wanted
    except MultiWanBondError as exc:
        _print_error(str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # "mwb status | head": nobody reads on. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print_error(text: str) -> None:
    # Here and not above: only who fails waits for it.
    import logging

    from multiwanbond.linux.journal import is_read_by_journal, prioritised

    is_journal = is_read_by_journal()
    for line in text.splitlines():
        said = f"mwb: {line}"
        print(prioritised(said, logging.ERROR) if is_journal else said, file=sys.stderr)


def _run(arguments: Sequence[str]) -> int:
    parser = _global_parser()
    given = parser.parse_args(arguments)
    if given.verb is None:
        parser.print_help(sys.stderr)
        return UsageError.exit_code
    verb = _import_verb(given.verb)
    verb_parser = Parser(prog="mwb")
    subparsers = verb_parser.add_subparsers()
    verb.add_parser(subparsers)
    args, unknown = verb_parser.parse_known_args([given.verb, *given.rest])
    if unknown:
        _refuse_arguments(subparsers.choices[given.verb], unknown)
    # Both `mwb -c FILE check` and `mwb check -c FILE`; the one after the verb counts.
    args.config = getattr(args, "config", None) or given.config
    return int(verb.run(args))


def _global_parser() -> Parser:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {verb:<{width}}{text}" for verb, text in VERBS.items())
    parser = Parser(
        prog="mwb",
        usage="mwb [-c FILE] VERB ...",
        description="Bonds several internet lines into one encrypted tunnel.",
        epilog=f'verbs:\n{verbs}\n\n"mwb VERB --help" says more about one.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mwb {__version__}")
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration file")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _import_verb(verb: str) -> ModuleType:
    if verb not in VERBS:
        meant = _suggestion(verb, VERBS)
        raise UsageError(f'there is no verb {verb!r}.{meant} See "mwb --help".')
    return importlib.import_module(f"{__package__}.{verb}")


def _refuse_arguments(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    first = unknown[0].partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    raise UsageError(
        f'unknown argument {first!r}.{_suggestion(first, known)} See "{parser.prog} --help".'
    )


def _suggestion(word: str, known: "Sequence[str] | dict[str, str]") -> str:
    near = difflib.get_close_matches(word[:64], known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
