"""A household's network: hosts behind a router, providers that translate addresses, the Internet.

    host 192.168.7.10 -- lan0 router wan1 -- isp1 (NAT) ==line 1== server eth0 -- internet
         fd07::10             (client) wan2 -- isp2 (NAT) ==line 2==   |        203.0.113.10
                                                              198.51.100.1      2001:db8:99::10

The two providers share a namespace, and keep apart what comes from each of the router's WANs. The
Internet host knows no way to private addresses: without translation nothing comes back. It knows
the server by 203.0.113.1, the address of its line.
"""

import socket
from collections.abc import Sequence
from contextlib import closing

from multiwanbond.lab.namespaces import Namespace
from multiwanbond.lab.topology import Topology, WanSpec, line

HOST, HOST6 = "192.168.7.10", "fd07::10"
INTERNET, INTERNET6 = "203.0.113.10", "2001:db8:99::10"
SERVER_OUT, SERVER_OUT6 = "203.0.113.1", "2001:db8:99::1"
PORT = 7000


class Home(Topology):
    """The standard lab with a LAN behind the client and an Internet behind the server.

    `client` is the router; its WANs have the names of the standard lab's, and addresses of
    10.92.N.2/24 with the gateway 10.92.N.1.
    """

    def __init__(self, specs: Sequence[WanSpec] | None = None) -> None:
        super().__init__(specs or [line(50, 0.01), line(50, 0.02)], purpose="home")

    def _build(self, seed: int) -> None:
        super()._build(seed)
        self.isp = self.client
        self.client = self.run.namespace("router")
        self.host = self.run.namespace("host")
        self.internet = self.run.namespace("internet")
        for wan in self.wans:
            self._provide(wan.number, wan.device, wan.gateway_ipv4)
        self._forward(self.isp)
        rules = "".join(f'oifname "{wan.device}" masquerade\n' for wan in self.wans)
        chain = "type nat hook postrouting priority srcnat;"
        nat = f"table ip nat {{\nchain out {{\n{chain}\n{rules}}}\n}}\n"
        self.isp.run("nft", "-f", "-", text_in=nat)
        self._join(self.client, "lan0", "192.168.7.1", "fd07::1", self.host, HOST, HOST6)
        self._join(self.server, "eth0", SERVER_OUT, SERVER_OUT6, self.internet, INTERNET, INTERNET6)
        self.host.configure(
            ["route add default via 192.168.7.1", "route add ::/0 via fd07::1 dev eth0"]
        )

    def _provide(self, number: int, device: str, gateway: str) -> None:
        near, far = f"10.92.{number}.2/24", f"10.92.{number}.1/24"
        self.isp.configure(
            [
                f"link add isp{number} type veth peer name {device} netns {self.client.name}",
                f"link set isp{number} addrgenmode none",
                f"addr add {far} dev isp{number}",
                f"link set isp{number} up",
                f"route add default via {gateway} dev {device} table {number}",
                f"rule add iif isp{number} lookup {number}",
            ]
        )
        self.client.configure(
            [
                f"link set {device} addrgenmode none",
                f"addr add {near} dev {device}",
                f"link set {device} up",
                f"route add default via 10.92.{number}.1 dev {device} metric {100 * number}",
            ]
        )

    def _join(
        self,
        near: Namespace,
        device: str,
        near4: str,
        near6: str,
        far: Namespace,
        far4: str,
        far6: str,
    ) -> None:
        near.configure([f"link add {device} type veth peer name eth0 netns {far.name}"])
        for namespace, name, host4, host6 in (
            (near, device, near4, near6),
            (far, "eth0", far4, far6),
        ):
            namespace.configure(
                [
                    f"link set {name} addrgenmode none",
                    f"addr add {host4}/24 dev {name}",
                    f"addr add {host6}/64 dev {name} nodad",
                    f"link set {name} up",
                ]
            )

    def _forward(self, namespace: Namespace) -> None:
        namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def source_seen(near: Namespace, far: Namespace, host: str, *, port: int = PORT) -> str | None:
    """The address from which a datagram of `near` to `host` reaches `far`, which then answers.

    None if it does not arrive, or the answer does not come back.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        closing(far.socket(socket.SOCK_DGRAM, family=family)) as there,
        closing(near.socket(socket.SOCK_DGRAM, family=family)) as here,
    ):
        there.bind(("", port))
        there.settimeout(0.4)
        here.settimeout(0.4)
        for _ in range(5):
            try:
                here.sendto(b"knock", (host, port))
                _, source = there.recvfrom(100)
                there.sendto(b"who is there?", source)
                here.recvfrom(100)
            except (TimeoutError, OSError):
                continue
            return str(source[0])
    return None
