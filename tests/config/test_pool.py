"""The addresses that the next client gets."""

from multiwanbond.config.model import Configuration
from multiwanbond.config.pool import free_addresses

from .files import PEER_KEY, read


def server(address: str, *allowed: str) -> Configuration:
    peers = ", ".join(f'{{public_key: "{PEER_KEY}", allowed_ips: ["{each}"]}}' for each in allowed)
    text = f"mode: server\ntunnel: {{address: [{address}]}}\n"
    return read(text + (f"security: {{peers: [{peers}]}}\n" if peers else ""))


def free(configuration: Configuration) -> list[str]:
    return [str(address) for address in free_addresses(configuration)]


def test_the_first_client_gets_the_first_address_after_the_servers_in_each_network() -> None:
    configuration = server('10.77.0.1/24, "fd77::1/64"')

    assert free(configuration) == ["10.77.0.2/24", "fd77::2/64"]


def test_an_address_that_is_free_again_is_taken_first() -> None:
    assert free(server("10.77.0.1/24", "10.77.0.3/32")) == ["10.77.0.2/24"]
    assert free(server("10.77.0.1/24", "10.77.0.2/32")) == ["10.77.0.3/24"]


def test_blocks_behind_clients_are_jumped_over() -> None:
    assert free(server("10.77.0.1/24", "10.77.0.0/26")) == ["10.77.0.64/24"]


def test_a_clients_full_tunnel_takes_no_addresses() -> None:
    assert free(server("10.77.0.1/24", "0.0.0.0/0")) == ["10.77.0.2/24"]


def test_a_full_network_has_none() -> None:
    assert free(server("10.77.0.1/30", "10.77.0.2/32")) == []
