"""The gateway's side, as far as this machine shows it: its sockets, and its log."""
