"""Real hermes-agents 0.19.0 under test: two gateways, one deterministic model of ours behind them, no internet.

make test-real                                 these tests alone
PYTHONPATH=tests python -m real_agent.first_light   renew docs/transcripts/first-light.md from a run
"""
