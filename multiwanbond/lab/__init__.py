"""Network namespaces joined by emulated WANs, for tests, the demo and benchmarks."""
