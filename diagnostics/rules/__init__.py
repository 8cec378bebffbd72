"""From evidence to a diagnosis: which findings apply, and one line of verdict."""
