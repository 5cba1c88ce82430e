"""Benchmarks: each counts what arrived against what was sent."""
