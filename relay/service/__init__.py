"""The relay as a service of systemd or launchd: what is written where; how it is started, proved, upgraded, removed."""
