"""Adapters to the kernel: TUN, UDP, routing, sysctl, link events, and the undo of all of it."""
