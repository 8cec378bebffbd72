"""From inside real containers: what works is called working, what does not gets the code of its cause, first."""

import socket

import pytest

from tests.docker.engine import DOCKER0, HOST_ADDRESS

NAME = "host.docker.internal"
HOST_GATEWAY = ("--add-host", f"{NAME}:host-gateway")
SLEEP = ("-c", "import time; time.sleep(600)")
TO_THE_GATEWAY = ("INPUT", "-i", "docker0", "-p", "tcp", "--dport", "4003")  # what a firewall rule is about

# What works


def healthy(run, route):
    assert (run.status, run.codes) == (0, []), run
    assert run.said["verdict"]["level"] == "usable"
    assert run.stages(route)["sync"] == "OK"
    return run


def test_default_bridge_and_a_service_on_every_address(diagnose, host):
    host.gateway("0.0.0.0")
    healthy(diagnose("--target", f"{DOCKER0}:4003"), f"{DOCKER0}:4003")


def test_nothing_configured_at_all(diagnose, host):
    host.gateway("0.0.0.0")
    healthy(diagnose(), f"{DOCKER0}:4003")


def test_the_host_gateway_name(diagnose, host):
    host.gateway(DOCKER0)
    healthy(diagnose(options=HOST_GATEWAY, environment=(f"IB_HOST={NAME}", "IB_PORT=4003")), f"{NAME}:4003")


def test_the_host_s_own_address(diagnose, host):
    host.gateway("0.0.0.0")
    healthy(diagnose("--target", HOST_ADDRESS), f"{HOST_ADDRESS}:4003")


def test_host_networking_and_a_service_on_loopback(diagnose, host):
    host.gateway("127.0.0.1")
    run = healthy(diagnose(options=("--network", "host")), "127.0.0.1:4003")
    assert {"name": "network_mode", "value": "host"}.items() <= next(
        fact for fact in run.said["facts"] if fact["name"] == "network_mode"
    ).items()


def test_container_to_container_by_its_name_on_a_user_network(diagnose, containers):
    containers.network("trading")
    containers.gateway(options=("--network", "trading", "--name", "ib-gateway"))
    healthy(diagnose("--target", "ib-gateway:4002", options=("--network", "trading")), "ib-gateway:4002")


def test_a_published_port_with_a_service_behind(diagnose, containers):
    containers.gateway(options=("--publish", "4003:4002"))
    healthy(diagnose("--target", DOCKER0), f"{DOCKER0}:4003")


# Names and ways


def test_a_name_nobody_gave_the_container(diagnose, host):
    host.gateway("0.0.0.0")
    host.name_server()
    run = diagnose("--target", NAME, options=("--dns", HOST_ADDRESS))
    assert run.codes[0] == "IBD101", run
    assert f"{DOCKER0}:4003" in run.line  # another route works: said in the first line


def test_no_network_at_all(diagnose):
    run = diagnose("--target", f"{DOCKER0}:4003", options=("--network", "none"))
    assert (run.status, run.codes[0]) == (2, "IBD209"), run


def test_no_network_and_a_name(diagnose):
    run = diagnose("--target", NAME, options=("--network", "none"))
    assert (run.status, run.codes[0]) == (2, "IBD102"), run


def test_a_service_bound_to_the_host_s_loopback(diagnose, host):
    host.gateway("127.0.0.1")
    run = diagnose(options=HOST_GATEWAY)
    assert run.status == 2, run
    assert "IBD202" in (run.codes[0], *run.candidates), run


def test_loopback_means_the_container_itself(diagnose, host):
    host.gateway("0.0.0.0")
    run = diagnose("--target", "127.0.0.1")
    assert run.codes[0] == "IBD106", run


def test_a_service_on_docker0_and_a_client_that_dials_its_own_bridge(diagnose, host, containers):
    host.gateway(DOCKER0)
    own = containers.network("strategies")
    run = diagnose("--target", own, options=(*HOST_GATEWAY, "--network", "strategies"))
    assert run.codes[0] == "IBD203", run
    assert f"{NAME}:4003" in run.line


def test_a_service_on_docker0_reached_from_a_user_network_by_the_host_gateway_name(diagnose, host, containers):
    host.gateway(DOCKER0)
    containers.network("strategies")
    run = diagnose("--target", NAME, options=(*HOST_GATEWAY, "--network", "strategies"))
    assert (run.status, run.stages(f"{NAME}:4003")["sync"]) == (0, "OK"), run


def test_nothing_listens(diagnose, engine):
    run = diagnose(options=HOST_GATEWAY)
    assert run.status == 2 and "IBD201" in (run.codes[0], *run.candidates), run


def test_another_port_answers(diagnose, host):
    host.gateway("0.0.0.0", 4001)
    run = diagnose()
    assert run.codes[0] == "IBD204", run


def test_a_firewall_that_drops(diagnose, host):
    host.gateway("0.0.0.0")
    host.rule(*TO_THE_GATEWAY, "-j", "DROP")
    run = diagnose()
    assert run.status == 2 and run.codes[0] == "IBD205", run


def test_a_firewall_that_prohibits(diagnose, host):
    host.gateway("0.0.0.0")
    host.rule(*TO_THE_GATEWAY, "-j", "REJECT", "--reject-with", "icmp-host-prohibited")
    run = diagnose()
    assert run.codes[0] == "IBD208", (run, run.said["routes"][1]["stages"])


def test_a_firewall_that_refuses_looks_like_nothing_listening(diagnose, host):
    host.gateway("0.0.0.0")
    host.rule(*TO_THE_GATEWAY, "-j", "REJECT", "--reject-with", "tcp-reset")
    run = diagnose()
    assert run.status == 2 and "IBD201" in (run.codes[0], *run.candidates), run


def test_an_address_nobody_has(diagnose, engine):
    run = diagnose("--target", "172.17.0.250")
    assert run.codes[0] == "IBD206", run


def test_containers_on_different_networks_are_kept_apart(diagnose, engine, containers):
    containers.network("strategies")
    containers.network("gateways")
    name = containers.gateway(options=("--network", "gateways"))
    run = diagnose("--target", f"{engine.address(name, 'gateways')}:4002", options=("--network", "strategies"))
    assert run.codes[0] == "IBD205", run


def test_data_that_vanishes_behind_an_open_connection(diagnose, host):
    host.gateway("0.0.0.0")
    longer_than_a_syn = ("-m", "length", "--length", "61:", "-m", "tcp", "--tcp-flags", "SYN", "NONE")
    host.rule(*TO_THE_GATEWAY, *longer_than_a_syn, "-j", "DROP")
    run = diagnose()
    assert (run.status, run.codes[0]) == (3, "IBD210"), run


def test_a_name_that_leads_to_ipv6_only(diagnose, host):
    host.gateway("0.0.0.0")
    run = diagnose("--target", "ib-host", options=("--add-host", "ib-host:fd00:77::1"))
    assert run.codes[0] == "IBD103", run


def test_a_name_that_leads_nowhere_any_more(diagnose, host):
    host.gateway("0.0.0.0")
    host.rule("DOCKER-USER", "-d", "10.77.0.9", "-j", "DROP")
    run = diagnose("--target", NAME, options=("--add-host", f"{NAME}:10.77.0.9"))
    assert run.codes[0] == "IBD105", run


# Behind an accepted connection


def test_a_gateway_that_trusts_127_0_0_1_only(diagnose, host, trusting_loopback):
    """From a container it may as well be a forwarder without a backend; on the host the two are told apart."""
    run = diagnose()
    assert "IBD302" in (run.codes[0], *run.candidates), run
    assert trusting_loopback("--target", HOST_ADDRESS).codes[0] == "IBD302"


def test_a_published_port_with_nothing_behind(diagnose, containers):
    containers.start(*SLEEP, options=("--publish", "4003:4002"))
    run = diagnose()
    # docker-proxy closes within a millisecond or two; on a machine under load it may take longer than the quiet moment.
    assert run.status == 3 and "IBD301" in (run.codes[0], *run.candidates), run


def test_a_published_port_and_a_service_bound_to_loopback_inside(diagnose, containers):
    containers.gateway("127.0.0.1", options=("--publish", "4003:4002"))
    run = diagnose()
    assert run.status == 3 and "IBD301" in (run.codes[0], *run.candidates), run


def test_a_stopped_container(diagnose, engine, containers):
    engine("stop", "-t", "0", containers.gateway(options=("--publish", "4003:4002")))
    run = diagnose()
    assert run.status == 2 and "IBD201" in (run.codes[0], *run.candidates), run


def test_a_paused_container(diagnose, engine, containers):
    name = containers.gateway(options=("--publish", "4003:4002"))
    engine("pause", name)
    try:
        run = diagnose("--timeout", "1")
    finally:
        engine("unpause", name)
    assert (run.status, run.codes[0]) == (3, "IBD303") and "IBD306" in run.candidates, run


@pytest.mark.parametrize("behaviour", ["silent", "wedged"])
def test_the_story_this_began_with_is_told_right(diagnose, host, behaviour):
    """Three ways to the host, "Connected" on all of them, then silence: Docker was never at fault."""
    host.gateway("0.0.0.0", behaviour=behaviour)
    words = ("--every-route", "--timeout", "1", "--target", HOST_ADDRESS)
    run = diagnose(*words, options=HOST_GATEWAY, environment=(f"IB_HOST={NAME}",))
    assert (run.status, run.codes[0], run.said["verdict"]["side"]) == (3, "IBD303", "gateway"), run
    assert not [code for code in run.codes if code[3] in "12"], "no advice about names or routes"


def test_a_listen_queue_that_is_full(diagnose, engine):
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deaf.bind((DOCKER0, 4003))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((DOCKER0, 4003))
        run = diagnose()
        for filler in fillers:
            filler.close()
    assert run.status == 2 and "IBD207" in (run.codes[0], *run.candidates), run


# How it must be able to run


def test_in_text_on_a_terminal_of_80_columns(engine, program, host):
    host.gateway("0.0.0.0")
    status, said, complaint = engine.diagnose(program)
    assert (status, complaint) == (0, "")
    assert max(map(len, said.splitlines())) <= 80
    assert said.startswith("Works via ")


# As look-ups that come back while the program ends, all the time: Python ends such threads by pthread_exit(), which
# wants a libgcc_s.so.1 that this image has not.
COMING_BACK = """
import sys, threading, time

def come_back():
    while True:
        time.sleep(0.0005)

for _ in range(4):
    threading.Thread(target=come_back, daemon=True).start()
from diagnostics.cli import main
sys.argv[1:] = ["explain", "IBD101"]
main()
"""


def test_threads_still_under_way_do_not_spoil_the_end(engine):
    name = engine.start("-c", COMING_BACK)
    try:
        assert (engine("wait", name), engine("logs", name).split()[0]) == ("0", "IBD101")
    finally:
        engine.remove(name)
