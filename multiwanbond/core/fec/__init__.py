"""Forward error correction: parity beside the packets, from which the peer makes up for lost ones.

`shards` says what is computed from what and how it travels, `encoder` when parity leaves, `decoder`
what is made of it. Packets themselves leave as ever, at once and by any path.
"""
