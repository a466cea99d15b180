"""Schedules of faults drawn from a seed, run against a real coordinator, and judged by what the agents executed."""
