"""Random faults under transfers, one after the other: everything that happens to an appliance.

    python -m tests.netns.faults --count 1000 --seed 1

makes a long run and prints what happened; `test_faults` makes a short one.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from multiwanbond.errors import PlatformError
from multiwanbond.lab.bond import SERVER_INNER_IPV4, Bond, Daemon
from multiwanbond.lab.topology import Topology, Wan, line
from multiwanbond.lab.traffic import Transfer, TransferResult

from .kernel_state import kernel_state

SIZE = 8_000_000
"""Bytes of a transfer: two seconds of these lines without faults."""
PATIENCE = 120.0
"""Seconds after the last fault in which a transfer must end; TCP itself may wait for many."""

Heal = Callable[[], None]


@dataclass(kw_only=True)
class Outcome:
    """What a run showed."""

    faults: Counter[str]
    transfers: list[TransferResult]
    leftovers: list[str]
    """What differs from before, once both daemons were stopped."""
    most_descriptors: int
    most_memory: int
    """kB, of either daemon."""


class FaultRun:
    """A lab with three WANs and a bond, to which things happen."""

    def __init__(self, lab: Topology, bond: Bond, seed: int) -> None:
        self._lab = lab
        self._bond = bond
        self._random = Random(seed)
        self._faults: Counter[str] = Counter()
        self._transfers: list[TransferResult] = []
        self._descriptors = self._memory = 0
        self._began = time.monotonic()
        self.story: list[str] = []
        """Every fault with its time, since the last transfer that was whole."""
        self._kinds: list[Callable[[], Heal]] = [
            self.black_out, self.freeze, self.flap, self.unplug, self.new_address, self.reorder,
            self.lose, self.narrow, self.slow, self.restart_client, self.kill_client,
            self.restart_server, self.kill_server, self.reload,
        ]  # fmt: skip

    def run(self, count: int) -> Outcome:
        """Let `count` faults happen, with transfers all the time; then stop the daemons."""
        before = [kernel_state(namespace) for namespace in (self._lab.client, self._lab.server)]
        for namespace in (self._lab.client, self._lab.server):
            # Linux 6.15: else TCP itself waits for up to two minutes after a long silence. It gives
            # up after a number of tries, which now are over sooner.
            namespace.run("sysctl", "-qw", "net.ipv4.tcp_rto_max_ms=3000", check=False)
            namespace.run("sysctl", "-qw", "net.ipv4.tcp_retries2=200", check=False)
        self._bond.start()
        self._bond.wait_connected()
        while sum(self._faults.values()) < count:
            self._one_transfer(count)
            self._measure()
        for daemon in self._bond.daemons:
            daemon.stop()
        after = [kernel_state(namespace) for namespace in (self._lab.client, self._lab.server)]
        return Outcome(
            faults=self._faults,
            transfers=self._transfers,
            leftovers=_differences(before, after),
            most_descriptors=self._descriptors,
            most_memory=self._memory,
        )

    def _one_transfer(self, count: int) -> None:
        self._bond.wait_connected(30.0)
        sender, receiver = self._lab.server, self._lab.client
        transfer = Transfer(sender, receiver, host=SERVER_INNER_IPV4, size=SIZE)
        try:
            # Begun while the tunnel is away, a connection would go around it for good.
            give_up = time.monotonic() + PATIENCE
            while not transfer.received() and time.monotonic() < give_up:
                time.sleep(0.02)
            while not transfer.has_ended() and sum(self._faults.values()) < count:
                self._happen()
            self.story.append(f"{time.monotonic() - self._began:.1f} s no more faults")
            self._transfers.append(transfer.wait(PATIENCE))
            if self._transfers[-1].is_intact:
                self.story.clear()
        finally:
            transfer.close()

    def _happen(self) -> None:
        """Let one fault happen, sometimes a second one meanwhile, and then end."""
        heals = [self._begin()]
        time.sleep(self._random.uniform(0.05, 1.0))
        if self._random.random() < 0.3:
            heals.append(self._begin())
            time.sleep(self._random.uniform(0.05, 0.5))
        for heal in reversed(heals):
            heal()
        time.sleep(self._random.uniform(0.05, 0.8))

    def _begin(self) -> Heal:
        kind = self._random.choice(self._kinds)
        self._faults[kind.__name__] += 1
        self.story.append(f"{time.monotonic() - self._began:.1f} s {kind.__name__}")
        return kind()

    def _measure(self) -> None:
        for daemon in self._bond.daemons:
            pid = daemon.process.pid
            self._descriptors = max(self._descriptors, len(os.listdir(f"/proc/{pid}/fd")))
            with open(f"/proc/{pid}/status") as status:
                fields = dict(each.split(":", 1) for each in status if ":" in each)
            self._memory = max(self._memory, int(fields["VmRSS"].split()[0]))

    # What happens to a line

    def _wan(self) -> Wan:
        return self._random.choice(self._lab.wans)

    def _changed(self, wan: Wan, **changes: Any) -> Heal:
        settings = wan.spec.to_server
        assert settings is not None
        usual = {name: getattr(settings, name) for name in changes}
        self._lab.change(wan.number, **changes)
        return lambda: self._lab.change(wan.number, **usual)

    def black_out(self) -> Heal:
        return self._changed(self._wan(), is_black=True)

    def freeze(self) -> Heal:
        return self._changed(self._wan(), is_frozen=True)

    def lose(self) -> Heal:
        return self._changed(self._wan(), loss=self._random.uniform(0.01, 0.3))

    def reorder(self) -> Heal:
        return self._changed(self._wan(), jitter=self._random.uniform(0.005, 0.05))

    def slow(self) -> Heal:
        return self._changed(self._wan(), delay=self._random.uniform(0.05, 0.3))

    def narrow(self) -> Heal:
        return self._changed(self._wan(), mtu=self._random.choice([1492, 1428, 1300]))

    # What happens to an interface

    def unplug(self) -> Heal:
        wan = self._wan()
        self._lab.client.configure([f"link set {wan.device} down"])
        return lambda: self._plug_in(wan, wan.client_ipv4)

    def flap(self) -> Heal:
        wan = self._wan()
        for _ in range(3):
            self._lab.client.configure([f"link set {wan.device} down"])
            time.sleep(self._random.uniform(0.0, 0.1))
            self._plug_in(wan, wan.client_ipv4)
            time.sleep(self._random.uniform(0.0, 0.1))
        return lambda: None

    def new_address(self) -> Heal:
        wan = self._wan()
        host = f"10.91.{wan.number}.{self._random.randrange(10, 250)}"
        self._plug_in(wan, host)
        return lambda: self._plug_in(wan, wan.client_ipv4)

    def _plug_in(self, wan: Wan, host: str) -> None:
        """Do what a DHCP client does with a lease."""
        route = f"default via {wan.gateway_ipv4} dev {wan.device} metric {wan.metric}"
        route6 = f"::/0 via {wan.gateway_ipv6} dev {wan.device} metric {wan.metric}"
        for step in (
            f"link set {wan.device} up",
            f"addr flush dev {wan.device}",
            f"addr add {host}/24 dev {wan.device}",
            f"addr add {wan.client_ipv6}/64 dev {wan.device} nodad",
            f"route add {route}",
            f"route add {route6}",
        ):
            with suppress(PlatformError):  # already so
                self._lab.client.configure([step])

    # What happens to a daemon

    def restart_client(self) -> Heal:
        return self._ended(self._bond.client, is_polite=True)

    def kill_client(self) -> Heal:
        return self._ended(self._bond.client, is_polite=False)

    def restart_server(self) -> Heal:
        return self._ended(self._bond.server, is_polite=True)

    def kill_server(self) -> Heal:
        return self._ended(self._bond.server, is_polite=False)

    def _ended(self, daemon: Daemon, *, is_polite: bool) -> Heal:
        if not daemon.is_running:
            return lambda: None  # the other of two faults at once is the same
        if is_polite:
            daemon.stop()
        else:
            daemon.kill()
        return lambda: None if daemon.is_running else daemon.start()

    def reload(self) -> Heal:
        """Take a WAN out of the file, and put it back."""
        client = self._bond.client
        wans = client.document["wans"]
        self._rewrite([wan for wan in wans if wan["id"] != self._wan().number])
        return lambda: self._rewrite(wans)

    def _rewrite(self, wans: list[object]) -> None:
        client = self._bond.client
        client.document["wans"] = wans
        client.write_config()
        if client.is_running:
            client.mwb("reload", check=False)


def _differences(before: list[dict[str, object]], after: list[dict[str, object]]) -> list[str]:
    return [
        f"{name} of the {end}: {now[name]} instead of {was[name]}"
        for end, was, now in zip(("client", "server"), before, after, strict=True)
        for name in was
        if was[name] != now[name]
    ]


def main() -> int:
    """Make a long run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.monotonic()
    with Topology([line(20, 0.01), line(10, 0.04), line(5, 0.025)], purpose="faults") as lab:
        bond = Bond(lab)
        try:
            outcome = FaultRun(lab, bond, chosen.seed).run(chosen.count)
        except PlatformError as exc:
            sys.stdout.write(f"{exc}\n{bond.client.last_words(40)}\n{bond.server.last_words(40)}\n")
            return 1
    broken = [each for each in outcome.transfers if not each.is_intact]
    sys.stdout.write(
        f"{sum(outcome.faults.values())} faults in {time.monotonic() - began:.0f} s: "
        f"{dict(outcome.faults)}\n"
        f"{len(outcome.transfers)} transfers, {len(broken)} broken: {broken}\n"
        f"longest stall {max(each.longest_stall for each in outcome.transfers):.1f} s\n"
        f"left behind: {outcome.leftovers}\n"
        f"at most {outcome.most_descriptors} descriptors, {outcome.most_memory} kB\n"
    )
    return 1 if broken or outcome.leftovers else 0


if __name__ == "__main__":
    sys.exit(main())
