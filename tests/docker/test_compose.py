"""`docker-compose up` and `down`, again and again: its fresh network and its first client come at once."""

import subprocess

from tests.docker.engine import IMAGE, ROOT
from tests.docker.networks import refused

ROUNDS = 30
COMPOSE = f"""
version: "2.4"
services:
  client:
    image: {IMAGE}
    command: ["/usr/bin/python3", "-u", "/src/tests/docker/knock.py", "host.docker.internal"]
    environment: ["PYTHONPATH=/src"]
    extra_hosts: ["host.docker.internal:172.17.0.1"]
    volumes: ["{ROOT}:/src:ro"]
"""


def test_the_first_client_of_thirty_compose_projects_is_served(engine, relay, tmp_path):
    records = relay()
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    command = ["docker-compose", "--host", f"unix://{engine.folder}/socket", "--project-name", "trading"]

    def compose(*words):
        return subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    failed = []
    for _ in range(ROUNDS):
        up = compose("up", "--no-color", "--exit-code-from", "client")
        if "answered" not in up.stdout:
            failed.append(up.stdout + up.stderr)
        down = compose("down")
        assert down.returncode == 0, down.stderr
    assert failed == []
    assert refused(records()) == []
