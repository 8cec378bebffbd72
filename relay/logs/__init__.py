"""The log: the record of a connection, its text, and the thread that writes lines."""
