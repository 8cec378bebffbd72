"""The practice gateway: speaks the IB API with named faults; the demo, the fault rehearsal and the test peer."""

from relay.practice.behaviours import BEHAVIOURS, Behaviour, Moment, Parameter, parse_behaviour
from relay.practice.gateway import PracticeGateway
from relay.practice.settings import Farms, Practice

__all__ = (
    "BEHAVIOURS",
    "Behaviour",
    "Farms",
    "Moment",
    "Parameter",
    "Practice",
    "PracticeGateway",
    "parse_behaviour",
)
