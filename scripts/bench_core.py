"""Microseconds per packet in the core, without a kernel: sealing and numbering, opening, order.

Two endpoints are joined in memory; figures are medians of several runs of process CPU time.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from ipaddress import ip_network
from random import Random

from multiwanbond.core.burst import Burst
from multiwanbond.core.datagram import Address, LinkUp, Received, Transmit
from multiwanbond.core.endpoint import Endpoint
from multiwanbond.core.handshake import public_key_of
from multiwanbond.core.pacer import TICK
from multiwanbond.core.settings import (
    CipherCosts,
    EndpointSettings,
    HealthSettings,
    PeerSettings,
    ReorderSettings,
    RoutingMode,
    WanSettings,
)

RUNS = 7
PACKETS = 20_000
SERVER = Address("198.51.100.1", 9000)
CLIENT = Address("203.0.113.1", 40000)
MSS = 1388


def settings(own: bytes, far: bytes, *, is_client: bool, mode: RoutingMode) -> EndpointSettings:
    peer = PeerSettings(
        name="peer",
        public_key=public_key_of(far),
        preshared_key=bytes(32),
        allowed_ips=(ip_network("0.0.0.0/0"),),
        is_initiator=is_client,
    )
    return EndpointSettings(
        private_key=own,
        peers=(peer,),
        wans=(WanSettings(id=1), WanSettings(id=2)) if is_client else (),
        health=HealthSettings(),
        reorder=ReorderSettings(),
        routing_mode=mode,
        inner_mtu=1440,
        cipher_costs=CipherCosts(aes_gcm_ns=1000, chacha20_ns=2000),
    )


def udp_packet(size: int) -> bytes:
    total = 28 + size
    head = b"\x45\x00" + total.to_bytes(2, "big") + b"\0\0\x40\0\x40\x11\0\0"
    addresses = bytes([10, 77, 0, 2, 10, 77, 0, 1])
    return head + addresses + b"\x30\x39\x00\x35" + (8 + size).to_bytes(2, "big") + bytes(2 + size)


def tcp_run(segments: int) -> Burst:
    size = segments * MSS
    head = b"\x45\x00" + (52 + size).to_bytes(2, "big") + b"\0\0\x40\0\x40\x06\0\0"
    addresses = bytes([10, 77, 0, 2, 10, 77, 0, 1])
    tcp = b"\x30\x39\x00\x50" + bytes(8) + b"\x80\x18\x01\x00" + bytes(4) + bytes(12)
    return Burst(
        head + addresses + tcp + Random(1).randbytes(size),
        segment_size=MSS,
        header_length=52,
        is_checksum_partial=True,
    )


def copy(transmits: Sequence[Transmit] | list[Transmit]) -> list[tuple[int, Received]]:
    return [
        (t.wan_id, Received(bytes(t.data), CLIENT, segment_size=t.segment_size)) for t in transmits
    ]


class Joined:
    """A client and a server whose datagrams are carried by function calls."""

    def __init__(self, mode: RoutingMode) -> None:
        random = Random(1)
        keys = bytes([1]) * 32, bytes([2]) * 32
        self.now = 100.0
        self.client = Endpoint(
            settings(*keys, is_client=True, mode=mode), entropy=random.randbytes, now=self.now
        )
        self.server = Endpoint(
            settings(*keys[::-1], is_client=False, mode=mode),
            entropy=random.randbytes,
            now=self.now,
        )
        for wan_id in (1, 2):
            self.client.handle_link_change(wan_id, LinkUp(remote=SERVER), self.now)
        for _ in range(200):
            self.step()

    def step(self) -> None:
        """Let 10 ms pass and everything waiting arrive."""
        self.now += 0.01
        for _, received in copy(list(self.client.poll_transmit())):
            self.server.handle_datagrams(0, [received], self.now)
        for transmit in list(self.server.poll_transmit()):
            wan_id = 1
            item = Received(bytes(transmit.data), SERVER, segment_size=transmit.segment_size)
            self.client.handle_datagrams(wan_id, [item], self.now)
        self.client.handle_timeout(self.now)
        self.server.handle_timeout(self.now)
        self.server.poll_deliver()
        self.client.poll_deliver()


def measure(bursts: list[Burst], mode: RoutingMode) -> tuple[float, float]:
    """Return microseconds per packet of sending and of receiving."""
    joined = Joined(mode)
    sending = receiving = 0.0
    packets = 0
    while packets < PACKETS:
        packets += sum(burst.segment_count for burst in bursts)
        wanted = sum(burst.segment_count for burst in bursts)
        begin = time.process_time()
        joined.client.handle_bursts(bursts, joined.now)
        transmits = list(joined.client.poll_transmit())
        sending += time.process_time() - begin
        while True:
            received = [item for _, item in copy(transmits)]
            begin = time.process_time()
            joined.server.handle_datagrams(0, received, joined.now)
            delivered = joined.server.poll_deliver()
            receiving += time.process_time() - begin
            wanted -= sum(burst.segment_count for burst in delivered)
            if wanted <= 0:
                break
            # The rest waits for credit: pacing is part of what sending costs.
            joined.now += TICK
            begin = time.process_time()
            joined.client.handle_timeout(joined.now)
            transmits = list(joined.client.poll_transmit())
            sending += time.process_time() - begin
        joined.step()
    return sending / packets * 1e6, receiving / packets * 1e6


WORKLOADS = {
    "TCP runs of 46 segments": [tcp_run(46)],
    "1400-byte packets, 32 a batch": [Burst(udp_packet(1372)) for _ in range(32)],
    "200-byte packets, 32 a batch": [Burst(udp_packet(172)) for _ in range(32)],
}


def main() -> int:
    results = {}
    for name, bursts in WORKLOADS.items():
        runs = [measure(bursts, RoutingMode.ADAPTIVE) for _ in range(RUNS)]
        results[name] = {
            "handle_bursts_us": round(statistics.median(run[0] for run in runs), 2),
            "handle_datagrams_us": round(statistics.median(run[1] for run in runs), 2),
        }
    if "--json" in sys.argv:
        print(json.dumps({"python": sys.version.split()[0], "core": results}, indent=2))
        return os.EX_OK
    print(
        f"Python {sys.version.split()[0]}; medians of {RUNS} runs of {PACKETS} packets; us/packet"
    )
    print(f"{'':32}{'handle_bursts':>16}{'handle_datagrams':>20}")
    for name, result in results.items():
        print(f"{name:32}{result['handle_bursts_us']:16}{result['handle_datagrams_us']:20}")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
