"""The words in capitals in a command, and what stands for them."""

import re

from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.report.legend import PLACEHOLDERS, legend


def test_placeholders_are_explained_where_they_occur():
    assert legend(("docker logs GATEWAY",)) == "In the commands GATEWAY is the name of the gateway's container."
    assert legend(("docker ps",)) == ""


def test_every_word_in_capitals_in_a_command_is_a_placeholder_or_a_name():
    words = {
        word for entry in CATALOGUE.values() for line in entry.commands for word in re.findall(r"\b[A-Z]{2,}\b", line)
    }
    assert words <= set(PLACEHOLDERS)


def test_no_command_of_the_catalogue_is_wider_than_a_terminal():
    assert [line for entry in CATALOGUE.values() for line in entry.commands if len(line) > 76] == []
