"""Two LTE sticks that know nothing of each other, and give their host the same network.

    wan1 192.168.8.100 -- stick1 192.168.8.1 (NAT) 10.91.1.2 ==line 1==
    client                                                                server 198.51.100.1
    wan2 192.168.8.100 -- stick2 192.168.8.1 (NAT) 10.91.2.2 ==line 2==

On a switch (`is_switched`) they are two routers of one LAN: 192.168.8.1 and 192.168.8.2, and the
client has an address for each of its two interfaces.
"""

from collections.abc import Sequence

from multiwanbond.lab.topology import Topology, WanSpec, line

GATEWAY = "192.168.8.1"
HOST, OTHER_HOST = "192.168.8.100", "192.168.8.101"


class Sticks(Topology):
    """The standard lab with a translating router before each line; `client` is behind both."""

    def __init__(
        self,
        *,
        hosts: tuple[str, str] = (HOST, HOST),
        is_switched: bool = False,
        specs: Sequence[WanSpec] | None = None,
    ) -> None:
        """Build it.

        Args:
            hosts: the client's addresses by the first and the second.
            is_switched: all interfaces are in one LAN, and the second router is 192.168.8.2.
            specs: the lines; both are the same if not given.
        """
        self.hosts = hosts
        self.is_switched = is_switched
        super().__init__(specs or [line(40, 0.02), line(40, 0.02)], purpose="sticks")

    def _build(self, seed: int) -> None:
        # Before the lines: their devices end up in here, and go after their emulator.
        self.sticks = [
            self.run.namespace(f"stick{number}") for number in range(1, len(self.wans) + 1)
        ]
        super()._build(seed)
        near = self.client
        self.client = self.run.namespace("host")
        # Most distributions are strict: what comes by a WAN must be what would leave by it.
        self.client.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
        if self.is_switched:
            self.switch = self.run.namespace("switch")
            self.switch.configure(["link add br0 type bridge", "link set br0 up"])
        for wan, stick in zip(self.wans, self.sticks, strict=True):
            near.configure([f"link set {wan.device} netns {stick.name}"])
            stick.configure(wan.client_steps())
            stick.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            chain = "type nat hook postrouting priority srcnat;"
            rule = f'oifname "{wan.device}" masquerade'
            nat = f"table ip nat {{\nchain out {{\n{chain}\n{rule}\n}}\n}}\n"
            stick.run("nft", "-f", "-", text_in=nat)
            self.plug_in(wan.number)

    def gateway(self, number: int) -> str:
        """Return what the router before a line is called by the client."""
        return f"192.168.8.{number}" if self.is_switched else GATEWAY

    def plug_in(self, number: int) -> None:
        """Lay the cable between the client and a stick, and do what a DHCP client does."""
        stick, device = self.sticks[number - 1], f"wan{number}"
        if self.is_switched:
            for namespace, name, port in (
                (self.client, device, f"near{number}"),
                (stick, "lan0", f"far{number}"),
            ):
                namespace.configure(
                    [f"link add {name} type veth peer name {port} netns {self.switch.name}"]
                )
                self.switch.configure([f"link set {port} master br0 up"])
        else:
            self.client.configure([f"link add {device} type veth peer lan0 netns {stick.name}"])
        stick.configure(
            [
                "link set lan0 addrgenmode none up",
                f"addr add {self.gateway(number)}/24 dev lan0",
            ]
        )
        self.client.configure([f"link set {device} addrgenmode none"])
        self.lease(number)

    def lease(self, number: int) -> None:
        """Set the client's interface up, with its address and default route."""
        device = f"wan{number}"
        self.client.configure(
            [
                f"addr replace {self.hosts[number - 1]}/24 dev {device}",
                f"link set {device} up",
                f"route add default via {self.gateway(number)} dev {device} metric {100 * number}",
            ]
        )

    def unplug(self, number: int) -> None:
        """Take a stick away, its interface included."""
        self.client.configure([f"link del wan{number}"])
