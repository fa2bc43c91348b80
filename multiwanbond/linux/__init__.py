"""Adapters to the kernel: TUN, UDP, netlink, nftables, sysctl, and the undo of all of it."""
