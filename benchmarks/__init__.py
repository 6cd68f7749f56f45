"""The benchmark: one table of layers against every peer. Run it with ``python -m benchmarks``."""
