"""The running bond: one nursery that moves packets between the core and the adapters."""
