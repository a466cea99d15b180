"""A mock hermes-agent 0.19.0: its API server and a stand-in for its dashboard, held to recorded frames of the real one.

The message steers what happens (`directives`); what came, ran and was interrupted is on record (`record`).
"""
