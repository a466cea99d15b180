"""Our coordinator and the gateways people pick, each with the same work: look at a client's key, put another credential
in, pass the answer on. As in `systems.py`, a gateway is a function that says how it is run.

The coordinator asks its peer for a stream and folds it; the others are answered in one piece.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from bench import load
from bench.programs import Missing, program, told_version
from bench.systems import Launch, Place, System, interpreter

KEY = "sk-bench-0123456789abcdef0123456789"
PEER = "peer"
MANY_TURNS = 100_000
"""No limit of turns, since it is not what is measured."""

CACHE = Path(__file__).parents[1] / ".cache"
PORTKEY = CACHE / "bench-portkey/node_modules/@portkey-ai/gateway"
LITELLM = CACHE / "bench-litellm/bin/litellm"


def portkey(place: Place) -> Launch:
    """Portkey's gateway as its npm package brings it. It looks at no key of its own, and logs nothing."""
    script = PORTKEY / "build/start-server.js"
    if not script.exists():
        raise Missing("Portkey's gateway is not here: run bench/packages where npm can fetch it")
    config = {
        "provider": "openai",
        "api_key": load.BEARER,
        "custom_host": f"http://127.0.0.1:{place.upstream_port}/v1",
    }
    node = program("node")
    return Launch(
        [node, str(script), "--headless", f"--port={place.port}"],
        {"NODE_ENV": "production", "HOME": str(place.folder)},
        f"{json.loads((PORTKEY / 'package.json').read_text())['version']} (Node {told_version(node, '--version')})",
        authorization=f"Bearer {KEY}",
        headers={"x-portkey-config": json.dumps(config)},
        is_exact=False,
        is_guarded=False,
    )


def litellm(place: Place) -> Launch:
    """LiteLLM's proxy with one worker and a master key; no database."""
    if not LITELLM.exists():
        raise Missing("LiteLLM is not here: run bench/packages where the Python index can be reached")
    model = {"model": f"openai/{load.MODEL}", "api_base": f"http://127.0.0.1:{place.upstream_port}/v1"}
    config = {
        "model_list": [{"model_name": load.MODEL, "litellm_params": {**model, "api_key": load.BEARER}}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    file = place.folder / "config.yaml"
    file.write_text(json.dumps(config))  # which is YAML too
    listen = ["--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]
    installed = next(LITELLM.parents[1].glob("lib/python*/site-packages/litellm-*.dist-info"))
    return Launch(
        [str(LITELLM), "--config", str(file), *listen],
        {"HOME": str(place.folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        installed.name.removeprefix("litellm-").removesuffix(".dist-info"),
        authorization=f"Bearer {KEY}",
        is_exact=False,
    )


def switchboard(place: Place) -> Launch:
    """`switchboard serve` as a host runs it, its journal on, with one peer."""
    return of_peers({PEER: ("127.0.0.1", place.upstream_port)}, {}, place)


def of_peers(peers: Mapping[str, tuple[str, int]], groups: Mapping[str, Sequence[str]], place: Place) -> Launch:
    """The same with these peers: name → host and port, group → names of peers. It is asked for the first of them."""
    python = interpreter()
    binary = Path(python).with_name("switchboard")
    if not binary.exists():
        raise Missing("switchboard is not in this environment: run make venv")
    secrets = place.folder / "secrets"
    secrets.mkdir()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    for name, value in {"password": load.PASSWORD, "consumers": f"bench {digest}\n"}.items():
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(value)
    entries = {
        name: {
            "host": host,
            "port": port,
            "user": load.USER,
            "password_file": "password",
            "max_turns": MANY_TURNS,
            "profiles": {"default": {"capabilities": [group for group, names in groups.items() if name in names]}},
        }
        for name, (host, port) in peers.items()
    }
    file = place.folder / "peers.yaml"
    file.write_text(json.dumps({"peers": entries}))  # which is YAML too
    env = {
        "SWITCHBOARD_COORDINATOR_LISTEN_ADDRESS": "127.0.0.1",
        "SWITCHBOARD_COORDINATOR_PORT": str(place.port),
        "SWITCHBOARD_COORDINATOR_PEERS_FILE": str(file),
        "SWITCHBOARD_COORDINATOR_SECRETS_FOLDER": str(secrets),
        "SWITCHBOARD_COORDINATOR_DATABASE_FILE": str(place.folder / "switchboard.db"),
        "SWITCHBOARD_COORDINATOR_JOURNAL": "on",
        # "SWITCHBOARD_COORDINATOR_DATABASE_FILE": str(place.folder / "switchboard.sqlite"),
        # "SWITCHBOARD_COORDINATOR_JOURNAL": "on",
    }
    return Launch(
        [str(binary), "serve"],
        env,
        f"{version('switchboard-coordinator')} (Python {told_version(python, '--version')})",
        authorization=f"Bearer {KEY}",
        model=f"default@{next(iter(peers))}",
        is_exact=False,
    )


OTHERS: Mapping[str, System] = {"Portkey": portkey, "LiteLLM": litellm}
"""Skipped where they cannot be had."""

OWN: Mapping[str, System] = {"switchboard": switchboard}

ALL: Mapping[str, System] = {**OTHERS, **OWN}
