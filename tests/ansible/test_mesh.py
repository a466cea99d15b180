"""What WireGuard is told."""

from ansible.mesh import Node, address, configuration


def test_a_machine_has_every_other_as_its_peer() -> None:
    nodes = {name: Node(f"10.0.0.{n}", f"100.64.0.{n}", f"private{n}", f"public{n}") for n, name in enumerate("abc", 1)}
    told = configuration("b", nodes)
    assert "PrivateKey = private2" in told
    assert [line for line in told.splitlines() if line.startswith(("PublicKey", "AllowedIPs", "Endpoint"))] == [
        "PublicKey = public1",
        "Endpoint = 10.0.0.1:51820",
        "AllowedIPs = 100.64.0.1/32",
        "PublicKey = public3",
        "Endpoint = 10.0.0.3:51820",
        "AllowedIPs = 100.64.0.3/32",
    ]


def test_addresses_are_of_the_tailnets_range() -> None:
    assert (address(1), address(300)) == ("100.64.0.1", "100.64.1.44")
