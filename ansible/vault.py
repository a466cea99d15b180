"""The secrets of one environment: makes those that are missing, and their successors; prints none.

    vault.py fill   INVENTORY                  make every secret that is missing
    vault.py begin  INVENTORY KIND [PEER…]     make successors: KIND is basic, bearer or consumer
    vault.py finish INVENTORY KIND [PEER…]     put successors in their place

INVENTORY is a folder such as inventories/fleet. The secrets are in its group_vars/all/vault.yml, encrypted with the
password in the file that ANSIBLE_VAULT_PASSWORD_FILE names, else in INVENTORY/.vault-password, which is made (0600).
A successor that is there already is kept, so whatever was interrupted can be said again.
"""

import os
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from ansible.vars.manager import VariableManager

NEXT = "_next"
PASSWORD_CHARACTERS = 32
KEY_CHARACTERS = 16
"""An agent refuses to serve with a shorter API_SERVER_KEY (hermes-agent 0.19.0)."""
DISTINCT_CHARACTERS = 8
_PLACEHOLDER = re.compile("change.?me|placeholder|password|your.?(api.?)?key|example|secret|xxxx", re.IGNORECASE)

Secrets = dict[str, Any]


class Peer:
    """What a peer needs secrets for."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.is_managed = bool(variables.get("agent_manage", True))
        profiles: Mapping[str, Any] = variables.get("profiles") or {"default": {}}
        self.gateways = [str(name) for name, told in profiles.items() if name == "default" or "port" in (told or {})]
        """By profile; a profile without a port shares the gateway of `default`, and its key."""


class VaultError(Exception):
    """The secrets cannot be used. The text says what to do."""


def filled(found: Secrets, peers: Mapping[str, Peer]) -> Secrets:
    """The same secrets, with those that these peers lack; nothing that is there is changed."""
    for name, peer in peers.items():
        of_peer = found.setdefault("vault_peers", {}).setdefault(name, {})
        of_peer.setdefault("basic_password", new_password())
        if peer.is_managed:
            for keys in (of_peer.setdefault("api_server_keys", {}), of_peer.get("api_server_keys" + NEXT, {})):
                for gateway in peer.gateways:
                    keys.setdefault(gateway, new_password())
    found.setdefault("vault_consumer_key", new_password())
    return found


def begun(found: Secrets, kind: str, peers: Mapping[str, Peer]) -> Secrets:
    """The same secrets, with successors of this kind; those that are there already stay."""
    if kind == "consumer":
        found.setdefault("vault_consumer_key" + NEXT, new_password())
    for name, peer in peers.items():
        of_peer = found["vault_peers"][name]
        if kind == "basic":
            of_peer.setdefault("basic_password" + NEXT, new_password())
        if kind == "bearer" and peer.is_managed:
            of_peer.setdefault("api_server_keys" + NEXT, {gateway: new_password() for gateway in peer.gateways})
    return found


def finished(found: Secrets, kind: str, peers: Iterable[str]) -> Secrets:
    """The same secrets, with the successors of this kind in their places."""
    places = [found] if kind == "consumer" else [found["vault_peers"][name] for name in peers]
    name = {"basic": "basic_password", "bearer": "api_server_keys", "consumer": "vault_consumer_key"}[kind]
    for place in places:
        if name + NEXT in place:
            place[name] = place.pop(name + NEXT)
    return found


def mistakes(found: Secrets) -> list[str]:
    """What is too weak to be used, by its name; the secrets themselves are not told."""
    weak = [_weakness("vault_consumer_key", found.get("vault_consumer_key"), PASSWORD_CHARACTERS)]
    for name, of_peer in found.get("vault_peers", {}).items():
        place = f"vault_peers.{name}"
        for key, value in of_peer.items():
            if isinstance(value, dict):
                weak += [_weakness(f"{place}.{key}.{one}", text, KEY_CHARACTERS) for one, text in value.items()]
            else:
                weak.append(_weakness(f"{place}.{key}", value, PASSWORD_CHARACTERS))
    return [sentence for sentence in weak if sentence]


def _weakness(name: str, value: object, least: int) -> str | None:
    if not isinstance(value, str) or len(value) < least:
        return f"{name} must be a text of at least {least} characters: remove it and run this again to have one made"
    if len(set(value)) < DISTINCT_CHARACTERS or _PLACEHOLDER.search(value):
        return f"{name} can be guessed: remove it and run this again to have one made"
    if not value.isascii() or not value.isprintable() or " " in value:
        return f"{name} must be of printable ASCII characters without spaces"
    return None


def new_password() -> str:
    """32 random characters: 192 bits."""
    while _PLACEHOLDER.search(password := secrets.token_urlsafe(24)):
        pass
    return password


class Vault:
    """The encrypted file of one inventory."""

    def __init__(self, inventory: Path) -> None:
        self.file = inventory / "group_vars" / "all" / "vault.yml"
        self._password_file = Path(os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or inventory / ".vault-password")

    def read(self) -> Secrets:
        """All secrets; none where there is no file.

        Raises:
            VaultError: the file is there and cannot be read.
        """
        if not self.file.exists():
            return {}
        if not self._password_file.exists():
            raise VaultError(
                f"{self.file} is there and the file with its password is not: put it back to {self._password_file}, "
                "or name it in ANSIBLE_VAULT_PASSWORD_FILE"
            )
        try:
            found = yaml.safe_load(self._lib().decrypt(self.file.read_bytes()))
        except (AnsibleVaultError, yaml.YAMLError) as error:
            raise VaultError(f"{self.file} cannot be read with the password in {self._password_file}") from error
        return found if isinstance(found, dict) else {}

    def write(self, found: Secrets) -> None:
        """Replace the file at once and whole."""
        text = "# Made by `make secrets`. To see or change it: ansible-vault edit\n" + yaml.safe_dump(found)
        _replace(self.file, self._lib().encrypt(text.encode()))

    def _lib(self) -> VaultLib:
        if not self._password_file.exists():
            _replace(self._password_file, new_password().encode() + b"\n")
        return VaultLib([("default", VaultSecret(self._password_file.read_bytes().strip()))])

    @property
    def password_file(self) -> Path:
        """Where the password is."""
        return self._password_file


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def read_peers(inventory: Path, vault: Vault) -> dict[str, Peer]:
    """The peers that the inventory names, and what they need secrets for."""
    loader = DataLoader()
    if vault.password_file.exists():
        loader.set_vault_secrets([("default", VaultSecret(vault.password_file.read_bytes().strip()))])
    manager = InventoryManager(loader=loader, sources=[str(inventory)])
    variables = VariableManager(loader=loader, inventory=manager)
    return {str(host.name): Peer(variables.get_vars(host=host)) for host in manager.get_hosts("peers")}


def main(arguments: list[str]) -> None:
    """Do what the arguments say; all mistakes end it with a sentence each."""
    kind, names = "", list[str]()
    match arguments:
        case ["fill", inventory]:
            pass
        case ["begin" | "finish", inventory, "basic" | "bearer" | "consumer" as kind, *names]:
            pass
        case _:
            sys.exit(str(__doc__))
    folder = Path(inventory)
    if not folder.is_dir():
        sys.exit(f"there is no inventory {folder}: copy inventories/example and name your machines in it")
    vault = Vault(folder)
    try:
        found = vault.read()
        peers = read_peers(folder, vault)
        if unknown := [name for name in names if name not in peers]:
            sys.exit(f"{folder} names no peer {', '.join(unknown)}; it names {', '.join(peers)}")
        chosen = {name: peer for name, peer in peers.items() if not names or name in names}
        before = yaml.safe_dump(found)
        match arguments[0]:
            case "begin":
                found = begun(filled(found, peers), kind, chosen)
            case "finish":
                found = finished(found, kind, chosen)
            case _:
                found = filled(found, peers)
        if weak := mistakes(found):
            sys.exit("\n".join(weak))
        if is_news := yaml.safe_dump(found) != before:
            vault.write(found)
    except VaultError as error:
        sys.exit(str(error))
    told = f"{vault.file}: {'changed' if is_news else 'nothing to do'}; its password is in {vault.password_file}"
    print(told)  # noqa: T201 - a command talks to who started it


if __name__ == "__main__":
    main(sys.argv[1:])
