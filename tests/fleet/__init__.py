"""A fleet as plain processes on this machine's loopback: mock agents, their proxies, one coordinator."""
