"""How sessions outlive a process: kept descriptors, checkpoints, and the handover to a new program."""
