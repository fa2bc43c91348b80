"""MultiWANBond: several internet lines bonded into one encrypted tunnel.

Start reading at `core/endpoint.py`, then `daemon/dataplane.py`.
"""

__version__ = "0.1.0"
