"""Benchmarks: throughput, compile time, and the returns that an experiment reaches."""
