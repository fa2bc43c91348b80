"""A world under a virtual clock: links, hosts and inner traffic around real endpoints."""
