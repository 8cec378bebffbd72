"""ib-relay: a TCP relay for Interactive Brokers' IB Gateway that knows the session it carries."""

__version__ = "0.1.0"
