"""End-to-end tests in containers. They need an engine and the images: `make images`."""

import os

# Clean-up is by label (engine.py); the reaper is an image that would have to be pulled.
# testcontainers reads this when it is imported.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
