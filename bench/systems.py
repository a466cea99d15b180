"""The systems side by side, each with the same work: compare a Basic credential, put a Bearer in, pass the answer on.

None of them buffers, each keeps its connections to the upstream, writes an access log to a file, as in production, and
may have as many connections as the kernel lets it.
A system is a function: it writes its configuration into its own folder, says how it is run, and starts nothing itself.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench import load
from bench.programs import Missing, library_path, program, told_version


@dataclass(frozen=True)
class Place:
    """What a system is given: the loopback port to listen on, the upstream's, and an empty folder of its own."""

    port: int
    upstream_port: int
    folder: Path


@dataclass(frozen=True)
class Launch:
    """How one system is run, and what it wants to see: the names that `Door` has too mean the same."""

    command: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    authorization: str = load.BASIC_HEADER
    model: str = load.MODEL
    headers: Mapping[str, str] = field(default_factory=dict)
    is_exact: bool = True
    is_guarded: bool = True

    def door(self, port: int) -> load.Door:
        """Where it is asked once it listens on this port."""
        return load.Door(port, self.authorization, self.model, self.headers, self.is_exact, self.is_guarded)


System = Callable[[Place], Launch]

HOSTED = Path(__file__).parents[1] / ".cache" / "bench-env" / "bin" / "python"

CONNECTIONS = 9000
"""For 4,096 streams with two connections each; a usual limit of 20,000 descriptors lets HAProxy have them."""


def upstream(place: Place) -> Launch:
    """nginx in the place of an agent and, for a coordinator, of the agent's proxy; the roof that no system can reach.

    To the Bearer it answers a chat completion of 350 bytes, to the Basic pair the same as a stream.
    """
    stream = load.STREAMED_ANSWER.replace("\n", "\\n")
    http = f"""
  access_log off;
  default_type application/json;
  map $http_authorization $agent {{ default 0; "{load.BEARER_HEADER}" 1; }}
  map $http_authorization $proxy {{ default 0; "{load.BASIC_HEADER}" 1; }}
  server {{
    listen 127.0.0.1:{place.port};
    location = {load.PATH} {{
      if ($agent = 0) {{ return 401; }}
      return 200 '{load.ANSWER}';
    }}
    location = /p/default{load.PATH} {{
      default_type text/event-stream;
      if ($proxy = 0) {{ return 401; }}
      return 200 '{stream}';
    }}
    location = /-/profiles {{ return 200 '{load.PROFILES}'; }}
  }}
"""
    return _nginx(place.folder, http, authorization=load.BEARER_HEADER)


def nginx(place: Place) -> Launch:
    """nginx with one worker; a `map` compares the credential."""
    http = f"""
  access_log {place.folder}/access.log combined;
  map $http_authorization $allowed {{ default 0; "{load.BASIC_HEADER}" 1; }}
  upstream agent {{ server 127.0.0.1:{place.upstream_port}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{place.port};
    if ($allowed = 0) {{ return 401; }}
    location / {{
      proxy_pass http://agent;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "{load.BEARER_HEADER}";
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
"""
    return _nginx(place.folder, http, authorization=load.BASIC_HEADER)


def haproxy(place: Place) -> Launch:
    """HAProxy with one thread; it can write its log to a descriptor: standard output, which is a file here."""
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""\
global
  nbthread 1
  maxconn {CONNECTIONS}
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend door
  bind 127.0.0.1:{place.port}
  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "{load.BASIC_HEADER}" }}
  default_backend agent
backend agent
  http-request set-header Authorization "{load.BEARER_HEADER}"
  server agent 127.0.0.1:{place.upstream_port}
""")
    binary = program("haproxy")
    env = {"LD_LIBRARY_PATH": library_path()}
    return Launch([binary, "-db", "-f", str(config)], env, told_version(binary, "-v", env=env))


def caddy(place: Place) -> Launch:
    """Caddy on one processor; a header matcher compares the credential (its own basic_auth would mean bcrypt)."""
    config = place.folder / "Caddyfile"
    config.write_text(f"""\
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{place.port} {{
  bind 127.0.0.1
  log {{
    output file {place.folder}/access.log
  }}
  @denied not header Authorization "{load.BASIC_HEADER}"
  respond @denied 401
  reverse_proxy 127.0.0.1:{place.upstream_port} {{
    header_up Authorization "{load.BEARER_HEADER}"
    flush_interval -1
    transport http {{
      keepalive_idle_conns_per_host 64
    }}
  }}
}}
""")
    binary = program("caddy")
    env = {"HOME": str(place.folder), "GOMAXPROCS": "1"}
    return Launch([binary, "run", "--config", str(config)], env, told_version(binary, "version"))


def yardstick(place: Place) -> Launch:
    """A plain Starlette and stock httpx proxy (yardstick.py) under uvicorn, with uvicorn's own access log."""
    serve = ["-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-use-colors", "bench.yardstick:app"]
    env = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "YARDSTICK_UPSTREAM": f"http://127.0.0.1:{place.upstream_port}",
        "YARDSTICK_BASIC": load.BASIC_HEADER,
        "YARDSTICK_BEARER": load.BEARER_HEADER,
    }
    python = interpreter()
    command = [python, *serve, "--host", "127.0.0.1", "--port", str(place.port)]
    return Launch(command, env, f"(httpx {version('httpx')}, Python {told_version(python, '--version')})")


def switchboard(place: Place) -> Launch:
    """`switchboard-proxy serve` as a host runs it; its log goes to standard output, which is a file here."""
    python = interpreter()
    binary = Path(python).with_name("switchboard-proxy")
    if not binary.exists():
        raise Missing("switchboard-proxy is not in this environment: run make venv")
    secrets = place.folder / "secrets"
    secrets.mkdir()
    for name, value in {"proxy_password": load.PASSWORD, "api_server_key": load.BEARER}.items():
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(value)
    env = {
        "SWITCHBOARD_PROXY_LISTEN_ADDRESS": "127.0.0.1",
        "SWITCHBOARD_PROXY_PORT": str(place.port),
        "SWITCHBOARD_PROXY_USER": load.USER,
        "SWITCHBOARD_PROXY_SECRETS_FOLDER": str(secrets),
        "SWITCHBOARD_PROXY_PROFILES": json.dumps(
            {"default": {"port": place.upstream_port, "key_file": "api_server_key", "prefix": ""}}
        ),
        "SWITCHBOARD_PROXY_DASHBOARD_PORT": str(place.upstream_port),
    }
    told = f"{version('switchboard-proxy')} (Python {told_version(python, '--version')})"
    return Launch([str(binary), "serve"], env, told)


def interpreter() -> str:
    """What runs our proxy and the yardstick: the distribution's Python where `bench/environment` could lay it."""
    return str(HOSTED) if HOSTED.with_name("switchboard-proxy").exists() else sys.executable


DISTRIBUTED: Mapping[str, System] = {"nginx": nginx, "HAProxy": haproxy, "Caddy": caddy}
"""What the distribution may or may not have: skipped where it does not run."""

OWN: Mapping[str, System] = {"yardstick": yardstick, "switchboard": switchboard}
"""What this repository brings: without it there is nothing to measure."""

ALL: Mapping[str, System] = {**DISTRIBUTED, **OWN}


def _nginx(folder: Path, http: str, *, authorization: str) -> Launch:
    """nginx as one worker in the foreground, with every path that it writes to inside `folder`."""
    writes = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections {2 * CONNECTIONS}; }}
http {{
{writes}  keepalive_requests 1000000000;
  map_hash_bucket_size 256;{http}}}
""")
    binary = program("nginx")
    command = [binary, "-e", f"{folder}/error.log", "-c", str(config)]
    return Launch(command, version=told_version(binary, "-v"), authorization=authorization)
