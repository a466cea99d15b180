"""Requests that two readers could read differently, sent through the proxy, and what may come out behind it."""
