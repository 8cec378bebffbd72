"""What is written down: the record of a connection, its words, and the thread that writes lines."""
