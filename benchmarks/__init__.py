"""Side-by-side benchmarks: each system in its own environment, the same jobs, one Redis, interleaved runs."""
