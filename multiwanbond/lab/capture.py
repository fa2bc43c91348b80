"""What crosses an interface, read beside the daemons rather than from them."""

import socket
import threading
from types import TracebackType
from typing import Final, Self

from multiwanbond.lab.namespaces import Namespace, inside

_ETH_P_ALL: Final = 0x0003  # <linux/if_ether.h>
_SO_RCVBUFFORCE: Final = 33  # <asm-generic/socket.h>
_BUFFER: Final = 32 << 20
"""Bytes the kernel keeps while the reader waits for its turn."""
_PATIENCE: Final = 0.1
"""Seconds without a packet after which the reader looks whether it should end."""


class Capture:
    """Every IP packet through `device`, both ways, from entering the `with` block to leaving it."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        # SOCK_DGRAM: without the Ethernet header, so veth and TUN look alike.
        with inside(namespace.name):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.settimeout(_PATIENCE)
        self._socket.bind((device, _ETH_P_ALL))
        self._has_ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"capture {device}")
        self.packets: list[bytes] = []
        """IP packets in the order seen; complete once the block is left."""

    def _read(self) -> None:
        while True:
            try:
                self.packets.append(self._socket.recv(65_536))
            except TimeoutError:
                if self._has_ended.is_set():
                    return

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        self._reader.join()
        self._socket.close()
