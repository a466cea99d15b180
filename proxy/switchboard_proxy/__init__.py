"""The door of one machine: who may pass, what crosses, to which loopback port."""
