"""Where clients come in: the listening sockets, the container bridges, and who is admitted."""
