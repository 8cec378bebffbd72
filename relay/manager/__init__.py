"""What a service manager and this process say to each other: systemd, launchd, sockets handed over."""
