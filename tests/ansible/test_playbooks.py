"""What holds for all playbooks and roles, without a machine: syntax, contracts of roles, secrets that are not shown.

Their style is `make lint`'s business.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from switchboard_coordinator.command.proof import EVERYBODY, Outcome, Request, sentences

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "ansible"
TOOLS = ROOT / ".tools/ansible/bin"
PLAYBOOKS = sorted(file.name for file in ANSIBLE.glob("*.yml"))
ROLES = sorted(folder.name for folder in (ANSIBLE / "roles").iterdir())
TASK_FILES = [*ANSIBLE.glob("*.yml"), *ANSIBLE.glob("tasks/*.yml"), *ANSIBLE.glob("roles/*/[th]a*/*.yml")]
SECRET = re.compile(r"(^|_)(key|keys|password|passwords)(_next)?$")
"""How options are called that hold secrets."""
BLOCKS = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
CANARY = "canary-0123456789abcdef"


def read(*path: str) -> Any:
    return yaml.safe_load(ANSIBLE.joinpath(*path).read_text())


def entry_points(role: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The options of each file of tasks that can be played."""
    return {
        name: entry.get("options") or {}
        for name, entry in read("roles", role, "meta", "argument_specs.yml")["argument_specs"].items()
    }


def defaults(role: str) -> dict[str, Any]:
    return read("roles", role, "defaults", "main.yml") or {}


def play(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    env |= {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "home")}
    return subprocess.run(
        [TOOLS / "ansible-playbook", *arguments],
        cwd=ANSIBLE,
        env=env | {"ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_there_is_a_playbook_for_each_day() -> None:
    for day in ("site", "upgrade", "rollback", "rotate", "verify", "status", "remove", "backup", "restore"):
        assert f"{day}.yml" in PLAYBOOKS


def test_every_playbook_can_be_read_with_the_example_inventory(tmp_path: Path) -> None:
    ended = play(tmp_path, "--syntax-check", "--inventory", "inventories/example", *PLAYBOOKS)
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr
    assert [line.removeprefix("playbook: ") for line in ended.stdout.split("\n") if line] == PLAYBOOKS


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_needs_has_no_default_and_everything_else_has_one(role: str) -> None:
    assert entry_points(role)
    for options in entry_points(role).values():
        for name, option in options.items():
            assert ("default" in option) != option.get("required", False), name
            assert name.startswith(f"{role}_")


@pytest.mark.parametrize("role", ROLES)
def test_a_secret_is_marked_as_one_and_is_no_default(role: str) -> None:
    for options in entry_points(role).values():
        for name, option in options.items():
            assert bool(SECRET.search(name)) == option.get("no_log", False), name
            assert not (SECRET.search(name) and option.get("default")), name


@pytest.mark.parametrize("role", ROLES)
def test_what_is_no_operators_business_is_called_so(role: str) -> None:
    file = ANSIBLE / "roles" / role / "vars/main.yml"
    assert all(name.startswith(f"_{role}_") for name in yaml.safe_load(file.read_text()))


def secrets_in(task: dict[str, Any]) -> list[str]:
    """What its templates name that holds a secret, by the names that such variables have."""
    told = {name: value for name, value in task.items() if name not in {"name", "when", "until", "vars"}}
    templates = " ".join(re.findall(r"{{(.*?)}}", yaml.safe_dump(told, width=10_000)))
    return re.findall(r"\b_?[a-z]\w*_(?:password|passwords|key|keys)(?:_next)?\b", templates)


def tasks(found: Any) -> Iterator[dict[str, Any]]:
    """Those of a file that do something themselves."""
    for entry in found or []:
        inside = [name for name in BLOCKS if name in entry]
        for name in inside:
            yield from tasks(entry[name])
        if not inside and not any(re.search(r"\b(include|import)_|\.assert$", name) for name in entry):
            yield entry


def used(found: Any) -> Iterator[tuple[str, str]]:
    """The roles and files of tasks that a file of tasks or plays uses: role (empty: its own folder) and file."""
    for entry in found or []:
        for name in BLOCKS:
            yield from used(entry.get(name))
        yield from ((role, "main") for role in entry.get("roles", ()))
        for name, told in entry.items():
            if name.endswith(("import_role", "include_role")):
                yield told["name"], told.get("tasks_from", "main")
            elif name.endswith(("import_tasks", "include_tasks")):
                file = told if isinstance(told, str) else told["file"]
                yield "", Path(file).stem


@pytest.mark.parametrize("role", ROLES)
def test_every_file_of_a_roles_tasks_is_played_by_somebody(role: str) -> None:
    playing = [*ANSIBLE.glob("*.yml"), *ANSIBLE.glob("tasks/*.yml")]
    played = {file for one in playing for of, file in used(yaml.safe_load(one.read_text())) if of == role}
    own = [*(ANSIBLE / "roles" / role).glob("[th]a*/*.yml")]
    played |= {file for one in own for of, file in used(yaml.safe_load(one.read_text())) if not of}
    assert {file.stem for file in own if file.parent.name == "tasks"} - {"main"} <= played


def test_a_task_that_is_given_a_secret_shows_nothing_of_it() -> None:
    seen = 0
    for file in TASK_FILES:
        for task in tasks(yaml.safe_load(file.read_text())):
            if secrets_in(task):
                seen += 1
                assert task.get("no_log"), f"{file.relative_to(ROOT)}: {task['name']}"
                if any(name.endswith((".copy", ".template")) for name in task):
                    assert task.get("diff") is False, f"{file.relative_to(ROOT)}: {task['name']}"
    assert seen > 10


def test_a_machine_runs_nothing_but_what_its_distribution_has() -> None:
    ours = [*ANSIBLE.glob("library/*.py"), *ANSIBLE.glob("roles/*/library/*.py")]
    assert ours
    for file in ours:
        told = set(re.findall(r"^(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE))
        assert not {name.split(".")[0] for name in told} & {"yaml", "docker", "requests", "jinja2"}


def test_the_example_names_nothing_that_nobody_reads() -> None:
    roles = set().union(*(defaults(role) for role in ROLES))
    documented = set(re.findall(r"^#   ([\w, ]+?)  ", (ANSIBLE / "group_vars/all.yml").read_text(), re.MULTILINE))
    known = roles | {name for line in documented for name in line.split(", ")}
    hosts = read("inventories", "example", "hosts.yml")["all"]["children"]
    named = {name for group in hosts.values() for told in group["hosts"].values() for name in told}
    named |= set(read("inventories", "example", "group_vars", "all", "fleet.yml"))
    assert {name for name in named if not name.startswith("ansible_")} <= known


def test_a_role_that_lacks_a_secret_says_which_and_does_nothing(tmp_path: Path) -> None:
    needing = ("agent", "coordinator", "proxy")
    included = {"ansible.builtin.include_role": {"name": "{{ inventory_hostname }}"}}
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [included]}]
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(TOOLS / "python")}
    given = {
        "agent_api_server_keys": {"default": CANARY},
        "coordinator_operator_key": CANARY,
        "proxy_api_server_keys": {"default": CANARY},
    }
    hosts = {role: local | {name: value for name, value in given.items() if name.startswith(role)} for role in needing}
    del hosts["agent"]["agent_api_server_keys"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    ended = play(tmp_path, "--check", "-vvv", "--inventory", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"))
    assert ended.returncode
    words = " ".join(ended.stdout.split())
    assert "missing required arguments: agent_api_server_keys" in words
    assert "missing required arguments: coordinator_image, coordinator_listen_address, coordinator_passwords" in words
    assert "missing required arguments: proxy_image, proxy_listen_address, proxy_password" in words
    assert CANARY not in ended.stdout + ended.stderr
    assert ended.stdout.count("TASK [") == 1 + len(needing)


def test_a_vault_that_lacks_a_peer_says_so_before_anything_is_done(tmp_path: Path) -> None:
    played = play(tmp_path, "--inventory", "inventories/example", "site.yml")
    assert played.returncode != 0
    words = " ".join(played.stdout.split())
    assert "The vault of this inventory has no secrets for laptop, nas: make secrets makes them." in words


@pytest.mark.parametrize(
    ("target", "failures", "must_answer", "stops"),
    [
        ("default@nas", {"default@nas": "silent"}, ["nas", "laptop"], True),
        (EVERYBODY, {"default@nas": "silent"}, ["nas", "laptop"], True),
        (EVERYBODY, {EVERYBODY: "refused"}, ["nas", "laptop"], True),
        ("default@laptop", {"default@laptop": "away"}, ["nas"], False),
        (EVERYBODY, {"default@laptop": "away"}, ["nas"], False),
        (EVERYBODY, {EVERYBODY: "nobody is there"}, [], False),
    ],
)
def test_a_proof_fails_where_somebody_who_must_answer_does_not_alone_or_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    failures: Mapping[str, str],
    must_answer: Sequence[str],
    stops: bool,
) -> None:
    (words,) = sentences([Outcome(Request(target, "/", {}), 200, 0.1, {}, failures)])
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncat >/dev/null\necho a transcript\necho 'switchboard: {words}' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {"coordinators": {"hosts": {"tower": here}}, "peers": {"hosts": {"nas": here, "laptop": here}}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"children": hosts}}))
    told = {"coordinator_container": "one", "coordinator_machine": "tower", "vault_consumer_key": CANARY}
    tasks = [{"name": "Prove it", "ansible.builtin.import_tasks": str(ANSIBLE / "tasks/prove.yml")}]
    plays = [
        {"hosts": "coordinators", "gather_facts": False, "vars": told | {"must_answer": must_answer}, "tasks": tasks}
    ]
    playbook = tmp_path / "prove.yml"
    playbook.write_text(yaml.safe_dump(plays))
    ended = play(tmp_path, "--inventory", str(inventory), str(playbook))
    assert bool(ended.returncode) == stops, ended.stdout + ended.stderr
    assert (words in " ".join(ended.stdout.split())) == stops
