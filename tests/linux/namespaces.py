"""Network namespaces for tests of the adapters: made under unique names, deleted again."""

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def missing_for_kernel_tests() -> str | None:
    """Return why namespaces and TUN devices cannot be used here; None if they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    return None


def skip_without_kernel() -> None:
    if reason := missing_for_kernel_tests():
        pytest.skip(reason)


class Namespace:
    """One network namespace, empty but for its loopback device, which is up."""

    def __init__(self) -> None:
        self.name = f"mwbtest-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments: str) -> str:
        """Run `ip` in the namespace and return what it printed."""
        command = ["ip", "-n", self.name, *arguments]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        return result.stdout

    def run(self, function: Callable[[], Result]) -> Result:
        """Return what `function` returns when called by a thread inside the namespace.

        Sockets and TUN devices made there stay there, whoever uses them.
        """
        results: list[Result] = []
        errors: list[BaseException] = []

        def enter_and_call() -> None:
            try:
                _enter(f"/run/netns/{self.name}")
                results.append(function())
            except BaseException as exc:
                errors.append(exc)

        thread = threading.Thread(target=enter_and_call)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace for the length of a block."""
        with open("/proc/thread-self/ns/net") as home:
            _enter(f"/run/netns/{self.name}")
            try:
                yield
            finally:
                _set(home.fileno())

    def delete(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


def _enter(path: str) -> None:
    with open(path) as handle:
        _set(handle.fileno())


def _set(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Yield `count` fresh namespaces; they are deleted whatever happens."""
    made: list[Namespace] = []
    try:
        for _ in range(count):
            made.append(Namespace())  # noqa: PERF401  # those made before a failure are deleted
        yield made
    finally:
        for namespace in made:
            namespace.delete()


def join(left: Namespace, right: Namespace, *, name: str = "wan0", number: int = 1) -> None:
    """Connect two namespaces by a veth pair: 10.200.N.1 and .2, fd00:N::1 and ::2."""
    left.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", right.name)
    for namespace, host in ((left, 1), (right, 2)):
        namespace.ip("address", "add", f"10.200.{number}.{host}/24", "dev", name)
        namespace.ip("address", "add", f"fd00:{number}::{host}/64", "dev", name, "nodad")
        namespace.ip("link", "set", name, "up")
