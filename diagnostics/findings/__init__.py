"""The catalogue of findings: all that is known of a code is in its entry."""
