"""Frames of a real hermes-agent 0.19.0, and how they are read."""
