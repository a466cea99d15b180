"""The command line `switchboard`."""
