"""Sockets under the event loop: the selector, one timer for all, dials and look-ups, questions to the kernel."""
