import pytest

from relay.config.addresses import Listen
from relay.config.load import PortMap
from relay.entry.own_network import is_container, said_of_loopback_only

AUTO, ALL = PortMap("default"), PortMap("open", listen=(Listen("0.0.0.0", 4003),))
BOTH = PortMap("both", listen=(Listen("auto", 4003), Listen("10.0.0.5", 4003)))
ALONE = (
    "map default: this looks like a container: there auto listens on loopback, which only programs in "
    "its network reach; --listen 0.0.0.0:PORT with --allow NETWORK lets others in"
)


@pytest.mark.parametrize(
    ("maps", "has_bridges", "inside", "said"),
    [
        ([AUTO], False, True, ALONE),
        ([AUTO, ALL], False, True, ALONE),
        ([AUTO], True, True, ""),  # the host's network
        ([AUTO], False, False, ""),  # a host without containers
        ([ALL], False, True, ""),
        ([BOTH], False, True, ""),
        ([], False, True, ""),
    ],
)
def test_only_who_can_be_reached_by_nobody_outside_is_warned(maps, has_bridges, inside, said):
    assert said_of_loopback_only(maps, has_bridges, inside) == said


def test_a_container_is_known_by_the_file_its_runtime_leaves(tmp_path):
    mark = tmp_path / ".containerenv"
    assert not is_container([str(mark)])
    mark.touch()
    assert is_container(["/no/such/file", str(mark)])
