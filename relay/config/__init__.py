"""The configuration: its keys and addresses, and the file, the environment and the flags they come from."""
