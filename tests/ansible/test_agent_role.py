"""The role `agent` with the real hermes-agent on a machine, installed by the role itself. Needs an engine, and minutes.

The tests build on each other, as the days of one machine do.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
import httpx
import pytest
import pytest_asyncio
from ansible.machine import File, Machine
from ansible.play import Play
from ansible.site import Site
from real_agent.model import Model
from waiting import until

pytestmark = [pytest.mark.deploy, pytest.mark.asyncio(loop_scope="module")]

PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: Play the role, or a part
      ansible.builtin.import_role:
        name: agent
        tasks_from: "{{ part | default('main') }}"
    - name: Say what runs
      ansible.builtin.debug:
        msg: "version {{ agent_version_running }}, keys of {{ agent_found_keys | default({}) | join(' ') }}"
      when: agent_version_running is defined
"""
HOME = "/var/lib/hermes/.hermes"
UNITS = "/etc/systemd/system"
BEHIND = "find /opt/hermes-agent /etc/switchboard/agent /etc/systemd/system/hermes-* 2>/dev/null || true"
LISTENERS = "ss --no-header --listening --tcp --numeric | awk '{print $4}' | grep -v -e ':22$' -e '^127.0.0.11:' | sort"
OPERATORS_ENV = "# mine\nTELEGRAM_BOT_TOKEN=mine-alone\nexport API_SERVER_PORT=9999\nAPI_SERVER_KEY=of-another-day\n"


@dataclass
class Peer:
    """The machine, and what its inventory says."""

    site: Site
    model: Model
    keys: dict[str, str] = field(default_factory=lambda: {"default": f"canary-{secrets.token_hex(16)}"})

    @property
    def machine(self) -> Machine:
        return self.site["nas"]

    async def play(self, *flags: str, part: str = "main", **extra: Any) -> Play:
        """Play the role as the inventory and `extra` say."""
        self.site.describe(
            "nas",
            agent_api_server_keys=self.keys,
            agent_profiles={"default": {}, "work": {"model": {"base_url": self.model.base_url("nas", "work")}}},
            agent_model={
                "provider": "custom",
                "default": "deterministic",
                "base_url": self.model.base_url("nas", "default"),
                "api_key": "canary-of-the-model",
                "context_length": 131072,
            },
            agent_config={"security": {"tirith_enabled": False, "allow_lazy_installs": False}},
        )
        told = json.dumps({"part": part, **extra})
        playbook = str(self.site.folder / "agent.yml")
        return await self.site.playbook(playbook, *flags, "--extra-vars", told)

    async def refused(self, *flags: str, **extra: Any) -> str:
        """The words of a run that fails, in one line."""
        play = await self.play(*flags, **extra)
        assert play.recap["nas"]["failed"] == 1, play.end()
        return " ".join(play.output.split())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with the key of now, at the machine's loopback."""
        headers = {"authorization": f"Bearer {self.keys['default']}"}
        async with (
            self.machine.forwarded(8642) as port,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
            ) as client,
        ):
            yield client

    async def says(self, text: str, profile: str = "default") -> str:
        """The answer of a turn."""
        body = {"model": "hermes-agent", "messages": [{"role": "user", "content": text}]}
        async with self.client() as client:
            answer = await client.post(f"/p/{profile}/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    async def pids(self) -> str:
        return await self.machine.run("systemctl show --property MainPID hermes-gateway hermes-dashboard")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Peer]:
    async with (
        Site(tmp_path_factory.mktemp("site"), {"nas": "13"}) as site,
        Model(site.lan_gateway) as model,
    ):
        (site.folder / "agent.yml").write_text(PLAYBOOK)
        yield Peer(site, model)


def shows_no_secret(play: Play) -> None:
    assert "canary-" not in play.output


def tool(command: str) -> str:
    return f"!!tool=terminal:{json.dumps({'command': command})} go"


async def test_before_the_first_run_check_mode_tells_what_would_be_done_and_does_nothing(peer: Peer) -> None:
    play = (await peer.play("--check", "--diff", "-vvv")).succeeded()
    shows_no_secret(play)
    assert play.changed >= 10
    assert await peer.machine.run(f"getent passwd hermes; find /var/lib -maxdepth 1 -name hermes; {BEHIND}") == ""


@pytest.mark.parametrize("missing", [{}, {"default": "short"}], ids=["none", "short"])
async def test_no_agent_without_a_key(peer: Peer, missing: dict[str, str]) -> None:
    words = await peer.refused(agent_api_server_keys=missing)
    assert "has no key of 16 characters or more for the profile default" in words or "censored" in words
    assert await peer.machine.run(BEHIND) == ""


async def test_a_port_that_something_else_has_is_refused(peer: Peer) -> None:
    await peer.machine.run("systemd-run --quiet --unit other --collect python3 -m http.server 8642")
    await peer.machine.run("timeout 20 sh -c 'until ss -ltn | grep -q :8642; do sleep 0.1; done'")
    try:
        words = await peer.refused()
    finally:
        await peer.machine.run("systemctl stop other")
    assert "Something else listens on port 8642 of nas (0.0.0.0)" in words


async def test_a_unit_that_somebody_else_wrote_is_refused(peer: Peer) -> None:
    await peer.machine.lay({f"{UNITS}/hermes-gateway.service": File(b"[Service]\nExecStart=/bin/true\n")})
    try:
        words = await peer.refused()
    finally:
        await peer.machine.run(f"rm {UNITS}/hermes-gateway.service")
    assert f"nas has a hermes-agent already, that {UNITS}/hermes-gateway.service starts" in words


async def test_an_installation_that_is_killed_is_done_again(peer: Peer) -> None:
    await peer.machine.run("install -d -m 0700 /var/lib/hermes /var/lib/hermes/.hermes")
    await peer.machine.lay({f"{HOME}/.env": File(OPERATORS_ENV.encode(), 0o600)})
    await peer.machine.lay(
        {f"{HOME}/config.yaml": File(b"mine: {stays: 1}\nagent: {restart_drain_timeout: 3}\n", 0o600)}
    )

    playing = asyncio.create_task(peer.play())
    # Spelled so that the shell which looks for it is not found.
    await until(lambda: _succeeds(peer.machine, "pgrep -f '[p]ip install' >/dev/null"), seconds=300)
    await peer.machine.run("pkill -KILL -f '[p]ip install'")
    assert (await playing).recap["nas"]["failed"] == 1

    play = (await peer.play("-vvv")).succeeded()
    shows_no_secret(play)
    assert re.search(r'"?version 0\.19\.0', play.output)


async def _succeeds(machine: Machine, command: str) -> bool:
    return (await machine.tried(command))[0] == 0


async def test_each_profile_answers_and_its_commands_run_in_its_home_alone(peer: Peer) -> None:
    assert "[nas/work]" in await peer.says("hello", "work")
    await peer.says(
        tool("touch /var/lib/hermes/mine; touch /etc/theirs; touch /opt/hermes-agent/theirs; id > /var/lib/hermes/who")
    )
    assert "(hermes)" in await peer.machine.run("cat /var/lib/hermes/who && stat /var/lib/hermes/mine")
    assert (await peer.machine.tried("ls /etc/theirs /opt/hermes-agent/theirs"))[0]


async def test_what_an_operator_wrote_stays(peer: Peer) -> None:
    written = (await peer.machine.run(f"cat {HOME}/.env")).splitlines()
    assert sorted(written) == sorted(
        "# mine|TELEGRAM_BOT_TOKEN=mine-alone|API_SERVER_ENABLED=true|API_SERVER_HOST=127.0.0.1|"
        f"API_SERVER_PORT=8642|API_SERVER_KEY={peer.keys['default']}".split("|")
    )
    config = await peer.machine.run(f"cat {HOME}/config.yaml")
    assert "stays: 1" in config
    assert "restart_drain_timeout: 20" in config


async def test_it_listens_on_loopback_alone_and_no_secret_lies_open(peer: Peer) -> None:
    assert (await peer.machine.run(LISTENERS)).split() == ["127.0.0.1:8642", "127.0.0.1:9119"]
    search = "grep --recursive --files-with-matches [c]anary-"  # spelled so that it does not find itself
    found = (await peer.machine.run(f"{search} /etc /opt/hermes-agent /run /var/lib/hermes /tmp || true")).split()
    assert {f"{HOME}/.env", f"{HOME}/config.yaml"} <= set(found)
    assert await peer.machine.run(f"find {' '.join(found)} -perm /077") == ""
    assert await peer.machine.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep [c]anary- || true") == ""
    assert await peer.machine.run("journalctl | grep [c]anary- || true") == ""


@pytest.mark.parametrize("flags", [[], ["--check", "--diff"]], ids=["run", "check"])
async def test_a_second_run_changes_nothing(peer: Peer, flags: Sequence[str]) -> None:
    before = await peer.pids()
    assert (await peer.play(*flags)).succeeded().changed == 0
    assert await peer.pids() == before


async def test_a_run_that_was_killed_before_the_restart_is_made_good_by_the_next(peer: Peer) -> None:
    before, old = await peer.pids(), dict(peer.keys)
    peer.keys["default"] = f"canary-{secrets.token_hex(16)}"
    (await peer.play("--tags", "agent_configure")).succeeded()  # what a run leaves that dies before its handlers
    assert await peer.pids() == before

    checked = (await peer.play("--check", "--diff", "-vvv")).succeeded()
    shows_no_secret(checked)
    assert checked.changed == 2  # who has to restart, and the handler
    assert await peer.pids() == before

    (await peer.play()).succeeded()
    assert await peer.pids() != before
    assert "[nas]" in await peer.says("with the new key")
    peer.keys, new = old, peer.keys
    async with peer.client() as client:
        assert (await client.get("/v1/models")).status_code == 401
    peer.keys = new


async def test_a_turn_goes_on_to_its_end_while_the_agent_restarts(peer: Peer) -> None:
    before = await peer.pids()
    turn = asyncio.create_task(peer.says("!!delay=0.3 !!repeat=30 slow"))
    await until(lambda: bool(peer.model.turns("nas", "default", "slow")), seconds=60)
    (await peer.play(part="restart")).succeeded()
    assert (await turn).count("slow") >= 30
    assert await peer.pids() != before


async def test_a_version_that_was_not_proved_is_taken_back(peer: Peer) -> None:
    (await peer.play(part="proven")).succeeded()
    right = await peer.machine.run("cat /etc/switchboard/agent/.env")
    await peer.machine.run(
        "ln -s $(ls -d /opt/hermes-agent/0.19.0*/ | head -n 1) /opt/hermes-agent/other"
        " && sed -i 's|/opt/hermes-agent/[^/:]*|/opt/hermes-agent/other|' /etc/switchboard/agent/.env"
        " && systemctl restart hermes-gateway hermes-dashboard"
    )
    before = await peer.pids()
    (await peer.play(part="withdrawn")).succeeded()
    assert await peer.machine.run("cat /etc/switchboard/agent/.env") == right
    assert await peer.pids() != before
    assert (await peer.play(part="withdrawn")).succeeded().changed == 0
    assert (await peer.play()).succeeded().changed == 0
    await peer.machine.run("rm /opt/hermes-agent/other")


async def test_an_agent_that_is_there_is_found_and_stays_as_it_is(peer: Peer) -> None:
    before = await peer.pids()
    play = (await peer.play("-vvv", agent_manage=False, agent_api_server_keys={})).succeeded()
    shows_no_secret(play)
    assert play.changed == 0
    assert "version 0.19.0, keys of default work" in play.output
    assert await peer.pids() == before


async def test_its_own_env_counts_before_a_key_that_was_made_up_for_it(peer: Peer) -> None:
    made_up = {"default": secrets.token_hex(16)}
    assert (await peer.play(agent_manage=False, agent_api_server_keys=made_up)).succeeded().changed == 0


async def test_a_key_that_does_not_fit_the_agent_that_is_there_is_named(peer: Peer) -> None:
    env, another = f"{HOME}/.env", f"s/^API_SERVER_KEY=.*/API_SERVER_KEY={secrets.token_hex(16)}/"
    await peer.machine.run(f"cp --archive {env} /root/kept && sed --in-place '{another}' {env}")
    try:
        words = await peer.refused(agent_manage=False, agent_api_server_keys={})
    finally:
        await peer.machine.run(f"mv /root/kept {env}")
    assert "The API server of default on nas (http://127.0.0.1:8642) refuses the key" in words


async def test_an_agent_that_others_reach_is_refused(peer: Peer) -> None:
    await peer.machine.run("systemd-run --quiet --unit other --collect python3 -m http.server 9200")
    await peer.machine.run("timeout 20 sh -c 'until ss -ltn | grep -q :9200; do sleep 0.1; done'")
    try:
        words = await peer.refused(agent_manage=False, agent_dashboard_port=9200)
    finally:
        await peer.machine.run("systemctl stop other")
    assert "The hermes-agent of nas listens on port 9200 of 0.0.0.0" in words


async def test_where_there_is_no_agent_the_sentence_says_what_to_give(peer: Peer) -> None:
    words = await peer.refused(agent_manage=False, agent_home="/nowhere", agent_api_server_keys={})
    assert "There is no API_SERVER_KEY for default in /nowhere of nas" in words
    words = await peer.refused(agent_manage=False, agent_port=8700)
    assert "Nothing listens on port 8700 of nas" in words


async def test_a_gateway_that_the_role_did_not_start_is_not_joined_by_another(peer: Peer) -> None:
    await peer.machine.run("systemctl stop hermes-gateway")
    command = "$(ls -d /opt/hermes-agent/0.19.0*/ | head -n 1)bin/hermes gateway run"
    environment = f"--setenv HERMES_HOME={HOME} --setenv HOME=/var/lib/hermes"
    await peer.machine.run(f"systemd-run --quiet --unit mine --collect --uid hermes {environment} {command}")
    try:
        await peer.machine.run("timeout 60 sh -c 'until ss -ltn | grep -q :8642; do sleep 0.2; done'")
        words = await peer.refused()
    finally:
        await peer.machine.run("systemctl stop mine")
    assert f"A gateway that this role did not start serves {HOME} on nas" in words
    assert (await peer.play()).succeeded().changed == 1  # the unit that was stopped


async def test_profiles_may_have_a_gateway_each(peer: Peer) -> None:
    profiles = {"default": {}, "work": {"port": 8643, "model": {"base_url": peer.model.base_url("nas", "work")}}}
    keys = peer.keys | {"work": f"canary-{secrets.token_hex(16)}"}
    apart: dict[str, Any] = {"agent_multiplex": False, "agent_profiles": profiles, "agent_api_server_keys": keys}
    (await peer.play(**apart)).succeeded()
    assert (await peer.machine.run(LISTENERS)).split() == ["127.0.0.1:8642", "127.0.0.1:8643", "127.0.0.1:9119"]
    assert (await peer.play(**apart)).succeeded().changed == 0
    (await peer.play()).succeeded()
    assert (await peer.machine.run(LISTENERS)).split() == ["127.0.0.1:8642", "127.0.0.1:9119"]
    assert "API_SERVER" not in await peer.machine.run(f"cat {HOME}/profiles/work/.env")
    assert (await peer.play()).succeeded().changed == 0


async def test_after_a_reboot_it_answers_again(peer: Peer) -> None:
    await peer.machine.reboot()
    (await peer.play(part="ready")).succeeded()
    assert "[nas]" in await peer.says("up again")


async def test_what_is_removed_leaves_its_data_alone(peer: Peer) -> None:
    (await peer.play(part="remove")).succeeded()
    assert await peer.machine.run(BEHIND) == ""
    assert await peer.machine.run(LISTENERS) == ""
    assert "state.db" in await peer.machine.run(f"ls {HOME}")
    assert (await peer.play(part="remove")).succeeded().changed == 0
    (await peer.play(part="remove", agent_remove_data=True)).succeeded()
    assert await peer.machine.run("ls -d /var/lib/hermes 2>/dev/null; getent passwd hermes || true") == ""
