"""A real hermes-agent's dashboard in a real Chromium: directly on loopback, and through the real proxy.

The proxy is called by a name that is not loopback, as on a tailnet: the dashboard takes no such name itself.

make chromium                          bring the browser
.venv/bin/pytest tests/browser         these tests alone
"""
