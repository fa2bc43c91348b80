"""What the transport ciphers cost on this machine; both ends then agree on the cheaper one."""

import os
import time
from typing import Final

from multiwanbond.core.burst import Burst
from multiwanbond.core.handshake import Cipher, TransportSecrets
from multiwanbond.core.keys import TransportKey
from multiwanbond.core.settings import CipherCosts
from multiwanbond.core.wire import OVERHEAD

_HEADER: Final = 20 + 20
_SIZE: Final = 1360
_SEGMENTS: Final = 20
_ROUNDS: Final = 5
"""The best of five rounds: a busy machine slows some of them, none runs too fast."""


def measure_ciphers() -> CipherCosts:
    """Return the cost of sealing a segment of 1400 bytes, measured in a few milliseconds.

    AES wins where the processor has instructions for it; on a Raspberry Pi 4 it loses by far.
    """
    return CipherCosts(
        aes_gcm_ns=_nanoseconds(Cipher.AES_256_GCM),
        chacha20_ns=_nanoseconds(Cipher.CHACHA20_POLY1305),
    )


def _nanoseconds(cipher: Cipher) -> int:
    secrets = TransportSecrets(send=os.urandom(32), receive=os.urandom(32))
    key = TransportKey(secrets, cipher, local_id=0, remote_id=0, now=0.0)
    packet = b"\x45" + bytes(_HEADER - 1 + _SEGMENTS * _SIZE)
    run = Burst(packet, segment_size=_SIZE, header_length=_HEADER, is_checksum_partial=True)
    sealed = memoryview(bytearray(_SEGMENTS * (OVERHEAD + _HEADER + _SIZE)))
    best = 2**62
    for number in range(_ROUNDS):
        start = time.perf_counter_ns()
        key.seal_run(sealed, 0, run, 0, _SEGMENTS, 1, number * _SEGMENTS, 1, 0, 0)
        best = min(best, time.perf_counter_ns() - start)
    return best // _SEGMENTS
