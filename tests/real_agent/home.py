"""The HERMES_HOME of an agent that answers offline: what is written into it, and why it works.

Profiles of hermes-agent 0.19.0, as read in the installed package and tried by hand:

* A named profile is a folder `$HERMES_HOME/profiles/<name>` with a config.yaml of its own; it is entered in no list.
* `multiplex_profiles: true` stands at the top of the *default* profile's config.yaml (or under `gateway:`). Its gateway
  then owns the one listener and serves `/p/<name>/v1/…` for `default` and every folder under profiles/; any other name
  is 404 `{"error": "Unknown or unconfigured profile"}`.
* A multiplexed profile has no API_SERVER_* in an `.env` of its own: two listeners are a configuration error that the
  gateway logs. The default profile's API_SERVER_KEY is good for all of them.
* `/p/work/v1/models` lists the id `work`; `/v1/models` and `/p/default/v1/models` list `hermes-agent`.
* Without multiplexing every `/p/<name>/` prefix is ignored, also that of a made-up name: default answers.
"""

import json
from collections.abc import Mapping
from pathlib import Path

MAX_TURNS = 4
"""Turns at once. At CPUs + 4 hermes-agent 0.19.0 stops writing its streams, and CI machines have two."""


def write_home(home: Path, *, providers: Mapping[str, str], multiplex: bool, api_port: int, key: str) -> None:
    """Write configuration for one gateway and its profiles; `providers` is profile → base URL of its model."""
    for profile, base_url in providers.items():
        folder = home if profile == "default" else home / "profiles" / profile
        folder.mkdir(parents=True)
        own = _gateway(multiplex) if profile == "default" else {}
        (folder / "config.yaml").write_text(json.dumps(_profile(base_url) | own, indent=2))  # JSON is YAML
    listener = {
        "API_SERVER_ENABLED": "true",
        "API_SERVER_KEY": key,
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": str(api_port),
    }
    env_file = home / ".env"  # wins over the environment of the process
    env_file.touch(mode=0o600)
    env_file.write_text("".join(f"{name}={value}\n" for name, value in listener.items()))


def _gateway(multiplex: bool) -> dict[str, object]:
    return {"multiplex_profiles": multiplex, "gateway": {"api_server": {"max_concurrent_runs": MAX_TURNS}}}


def _profile(base_url: str) -> dict[str, object]:
    return {
        "model": {
            "default": "deterministic",
            "provider": "custom",
            "base_url": base_url,
            "api_key": "no-secret-of-anything",
            "context_length": 131072,  # else it asks the provider for it
        },
        "security": {
            "tirith_enabled": False,  # else it downloads that scanner at its start
            "allow_lazy_installs": False,  # else its first session tries for 10 s to install a speech package
        },
    }
