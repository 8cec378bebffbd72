"""The same shared relay as in tests/relay."""

from tests.relay.conftest import relay, shared_relay, upstream

__all__ = ["relay", "shared_relay", "upstream"]
