"""Routes dialled and gateways asked: sockets, a clock, and a plan of whom to ask next."""
