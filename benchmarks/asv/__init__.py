"""Benchmarks for airspeed velocity; see ../README.md."""
