"""Values as files and clusters leave them: what was meant, and what is wrong with them."""

import pytest

from relay.repair import RepairedValue, repaired

CR = "a CR at its end, as in a file with Windows line ends"
COMMENT, QUOTES, BLANKS = "a comment behind it", "quotes around it", "blanks around it"
KUBERNETES = "tcp:// before it, as Kubernetes sets it for a Service of that name"
HOSTS = [
    ("gate", "gate", ()),
    ("gate#1", "gate#1", ()),
    ("localhost ", "localhost", (BLANKS,)),
    ("localhost\r", "localhost", (CR,)),
    ("'gate'", "gate", (QUOTES,)),
    ('"gate:4002"\r\n', "gate:4002", (CR, QUOTES)),
    ('" gate"', "gate", (QUOTES, BLANKS)),
    ("gate  # the host", "gate", (COMMENT,)),
    ('"gate" # the host', "gate", (COMMENT, QUOTES)),
    ("\ufeffgate", "gate", ("invisible characters around it",)),
    ("tcp://10.96.0.12:4002", "10.96.0.12:4002", (KUBERNETES,)),
    ("http://gate:4002/v1", "gate:4002", ("http:// before it",)),
    ("http://me:secret@gate", "http://me:secret@gate", ()),
    (" ", "", ()),
]
PORTS = [
    ("4002", "4002", ()),
    ("4002 # paper", "4002", (COMMENT,)),
    ("tcp://10.96.0.12:4002", "4002", (KUBERNETES,)),
    ("tcp://[fd00::1]:4002", "4002", (KUBERNETES,)),
    ("localhost:4002", "4002", ("a host before it",)),
    ("4001:4002", "4001:4002", ()),
]


@pytest.mark.parametrize("text, meant, wrong", HOSTS)
def test_what_was_meant(text, meant, wrong):
    assert repaired(text) == RepairedValue(meant, wrong)


@pytest.mark.parametrize("text, meant, wrong", PORTS)
def test_what_was_meant_as_a_port(text, meant, wrong):
    assert repaired(text, only_port=True) == RepairedValue(meant, wrong)


def test_a_variable_that_no_service_sets_is_not_said_to_come_from_one():
    assert repaired("tcp://gate:4002", of_service=False) == RepairedValue("gate:4002", ("tcp:// before it",))
