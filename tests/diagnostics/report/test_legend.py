"""The words in capitals in a command, and what stands for them."""

import re

from diagnostics.findings.catalogue import CATALOGUE, ELSEWHERE
from diagnostics.report.legend import PLACEHOLDERS, legend


def test_placeholders_are_explained_where_they_occur():
    assert legend(("docker logs GATEWAY",)) == "In the commands GATEWAY is the name of the gateway's container."
    assert legend(("docker ps",)) == ""


def test_every_word_in_capitals_in_a_command_is_a_placeholder_or_a_name():
    lines = [line for entry in CATALOGUE.values() for line in entry.commands]
    lines += [line for rows in ELSEWHERE.values() for row in rows for line in row.commands or ()]
    words = {word for line in lines for word in re.findall(r"(?<![\w-])[A-Z]{2,}\b", line)}
    assert words - {"TCP"} <= set(PLACEHOLDERS)


def test_no_command_of_the_catalogue_is_wider_than_a_terminal():
    assert [line for entry in CATALOGUE.values() for line in entry.commands if len(line) > 76] == []


def test_in_commands_of_swarm_the_client_is_a_service_and_the_gateway_still_a_container():
    lines = ("docker service update --network-add NETWORK CLIENT", "docker logs GATEWAY")
    gateway, client = "GATEWAY is the name of the gateway's container", "CLIENT is the name of the client's service"
    assert legend(lines) == f"In the commands {gateway}, {client}, NETWORK is the name of the container network."


def test_in_commands_of_kubernetes_the_gateway_is_in_a_pod():
    assert legend(("kubectl logs GATEWAY",)) == "In the commands GATEWAY is the name of the gateway's pod."
