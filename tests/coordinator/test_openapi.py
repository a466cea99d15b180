"""`GET /openapi.json` is valid, has every route and no other, and tells of each what it answers."""

import asyncio
import json
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import schemathesis
from coordinator.keyring import give
from coordinator.stage import Stage
from starlette.routing import Route
from switchboard_coordinator.app import create_app
from switchboard_coordinator.keys.consumers import Consumers
from switchboard_coordinator.peers.peers_file import read_peers
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_coordinator.surfaces.openapi import document, statuses
from switchboard_coordinator.surfaces.openapi_routes import OPERATIONS
from switchboard_coordinator.surfaces.openapi_shapes import MODEL, TURN_ID

PROGRAM = Path(sys.executable).parent / "schemathesis"
EXAMPLES = 6
SEED = 1
SECONDS = 200.0
ADDRESSES, GROUPS = ["nas", "work@nas", "default@laptop", "default@tower"], ["all@fleet", "first@gpu"]
KNOWN = {"peer": ["nas"], "profile": ["default", "work"], "path": ["models", "responses", "runs", "health", "nothing"]}
HIDING = ("Idempotency-Key", "X-Hermes-Session-Id", "Last-Event-ID", "x-switchboard-to")
"""Parameters that make of nearly all that comes with them a conflict, or of no consequence."""
CONFIG = """
[[operations]]
# which options a model takes, how many lanes a turn has and what an agent takes for a question, no schema tells
include-operation-id = ["post_v1_chat_completions", "post_v1_responses", "post_api_turns", "post_api_turns_id_cancel"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429"]
# a header that nobody knows is no mistake
generation.allow-extra-parameters = false

[[operations]]
# what an agent answers is its own: a 500 to `null`, a 405 to PUT
include-tag = "raw"
checks.positive_data_acceptance.enabled = false
checks.not_a_server_error.enabled = false
"""


def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(document()).validate()


async def test_the_document_is_there_for_every_key(stage: Stage) -> None:
    key = give(stage, "you", "default@nas")
    await stage.machine("nas")
    await stage.start()
    async with stage.client_of(key) as client:
        answer = await client.get("/openapi.json")
    assert (answer.json(), answer.headers["content-type"]) == (document(), "application/json")
    assert (await stage.client.get("/openapi.json", headers={"authorization": ""})).status_code == 401


async def test_it_has_every_route_of_the_application_and_no_other(stage: Stage, tmp_path: Path) -> None:
    await stage.machine("nas")
    await stage.start()
    settings = CoordinatorSettings(
        listen_address=ip_address("127.0.0.1"),
        peers_file=stage.peers_file,
        secrets_folder=stage.secrets,
        database_file=tmp_path / "another.db",
    )
    app = create_app(settings, read_peers(stage.peers_file), Consumers({}))
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    served = {(method, route.path.replace(":path}", "}")) for route in routes for method in route.methods or ()}
    told = {(operation.method, operation.path) for operation in OPERATIONS}
    assert {("HEAD", path) for method, path in told if method == "GET"} | told == served
    assert len(told) == len(OPERATIONS)


def test_every_code_of_the_table_has_a_status() -> None:
    assert {code for operation in OPERATIONS for code in operation.codes} <= statuses().keys()


def known_here(value: Any, turn: str) -> Any:
    """The document with what there is on the stage in place of what there may be elsewhere."""
    if isinstance(value, list):
        entries = (entry for entry in value if not isinstance(entry, dict) or entry.get("name") not in HIDING)
        return [known_here(entry, turn) for entry in entries]
    if not isinstance(value, dict):
        return value
    if value.get("pattern") == MODEL:
        return {"enum": ADDRESSES if "not" in value else ADDRESSES + GROUPS}
    if value.get("in") == "path" and value["name"] in KNOWN:
        return {**value, "schema": {"enum": KNOWN[value["name"]]}}
    if value.get("in") == "path" and value["schema"].get("pattern") == TURN_ID:
        return {**value, "schema": {"enum": [turn, "turn_" + 32 * "0"]}}
    if value.get("name") == "x-switchboard-deadline-ms":
        return {**value, "schema": {"enum": ["60000"]}}
    return {name: known_here(entry, turn) for name, entry in value.items()}


async def test_a_running_coordinator_answers_as_its_document_says(stage: Stage, tmp_path: Path) -> None:
    await stage.machine("nas", profiles=("default", "work"), capabilities=["gpu"], max_turns=64, agent_turns=64)
    await stage.machine("laptop", max_turns=64, agent_turns=64)
    key = give(stage, "tester", "*", "raw:*", "admin", "cancel-others")
    await stage.start()
    async with stage.client_of(key) as client:
        begun = await client.post("/api/turns", json={"to": "nas", "text": "hello"})
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(known_here(document(), begun.json()["id"])))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    words = ("--url", stage.url, "--header", f"Authorization: Bearer {key}", "--max-examples", f"{EXAMPLES}")
    more = ("--seed", f"{SEED}", "--generation-database", "none", "--no-color", "--request-timeout", "10")
    # the one never ends, the other lets everything behind it wait
    left_out = ("--exclude-path", "/api/peers/events", "--exclude-path", "/api/peers/{peer}/drain")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", file, *words, *more, *left_out, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
