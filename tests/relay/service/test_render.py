"""The service definitions as bytes: what is shipped is what is rendered, and only what must differ does."""

import plistlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from relay.service.render import LABEL, ManagedSocket, Manager, Scope, ServiceTarget, quoted, render, with_values
from relay.service.templates import templates

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = ServiceTarget(
    Manager.SYSTEMD,
    Scope.SYSTEM,
    ("/usr/bin/python3", "-I", "-S", "/usr/local/lib/ib-relay/ib-relay.pyz", "run"),
    (ManagedSocket("default", (("127.0.0.1", 4003), ("::1", 4003), ("172.17.0.1", 4003))),),
    exec_paths=("/usr/bin/python3", "/usr/lib", "-/usr/lib64"),
)
USER = replace(SYSTEM, scope=Scope.USER)
DAEMON = ServiceTarget(
    Manager.LAUNCHD,
    Scope.SYSTEM,
    (
        "/opt/homebrew/bin/python3",
        "-I",
        "-S",
        "/usr/local/lib/ib-relay/ib-relay.pyz",
        "run",
        "--config",
        "/etc/ib-relay/config.toml",
        "--log-file",
        "/Library/Logs/ib-relay/ib-relay.log",
    ),
    (ManagedSocket("default", (("127.0.0.1", 4003), ("::1", 4003))),),
    log_folder="/Library/Logs/ib-relay",
)
AGENT = replace(DAEMON, scope=Scope.USER)
TWO_MAPS = replace(
    SYSTEM, doors=(ManagedSocket("paper", (("127.0.0.1", 4003),)), ManagedSocket("live", (("127.0.0.1", 4004),)))
)


def rendered(target: ServiceTarget) -> dict[str, str]:
    return render(target, templates())


def changed(target: ServiceTarget, other: ServiceTarget, name: str) -> tuple[set[str], set[str]]:
    """Lines that only the one has, and only the other."""
    one, two = (set(rendered(which)[name].splitlines()) for which in (target, other))
    return one - two, two - one


@pytest.mark.parametrize("folder, target", [("systemd", SYSTEM), ("systemd/user", USER)])
def test_the_shipped_units_are_what_is_rendered_for_the_default_target(folder, target):
    user_program = "/usr/local/lib/", "%h/.local/lib/"
    for name, text in rendered(target).items():
        expected = text.replace(*user_program) if target is USER else text
        assert (ROOT / folder / name).read_text() == expected


@pytest.mark.parametrize("name, target", [("daemon", DAEMON), ("agent", AGENT)])
def test_the_shipped_plists_say_what_is_rendered(name, target):
    shipped = plistlib.loads((ROOT / f"launchd/ib-relay.{name}.plist").read_bytes())
    text = rendered(target)[f"{LABEL}.plist"]
    if target is AGENT:
        for folder in ("/usr/local/lib", "/etc/ib-relay", "/Library/Logs"):
            places = {"/usr/local/lib": "/Users/me/.local/lib", "/etc/ib-relay": "/Users/me/.config/ib-relay"}
            text = text.replace(f">{folder}", f">{places.get(folder, '/Users/me' + folder)}")
    assert plistlib.loads(text.encode()) == shipped


DIFFERENCES = [
    (
        "systemd 253 waits for a reload by itself",
        replace(SYSTEM, version=253),
        "ib-relay.service",
        {
            "Type=notify",
            "ExecReload=+/bin/kill -HUP $MAINPID",
            '# "+": the sandbox below forbids the relay\'s own user to execute anything but Python.',
        },
        {"Type=notify-reload"},
    ),
    (
        "systemd 254 would start OnFailure= units at every crash",
        (replace(SYSTEM, version=253), replace(SYSTEM, version=254)),
        "ib-relay.service",
        {
            "# How many descriptors are kept, see below: systemd itself says so since version 254.",
            "Environment=FDSTORE=1665",
        },
        {"RestartMode=direct"},
    ),
    (
        "a gateway elsewhere",
        replace(SYSTEM, upstreams=("localhost", "10.3.1.187")),
        "ib-relay.service",
        set(),
        {"IPAddressAllow=10.3.1.187"},
    ),
    (
        "a longer drain",
        replace(SYSTEM, stop_seconds=605),
        "ib-relay.service",
        {"TimeoutStopSec=15"},
        {"TimeoutStopSec=605"},
    ),
    (
        "more connections",
        replace(SYSTEM, max_connections=1000),
        "ib-relay.service",
        {"Environment=FDSTORE=1665", "FileDescriptorStoreMax=1665", "LimitNOFILE=4096", "MemoryMax=1088M"},
        {"Environment=FDSTORE=3129", "FileDescriptorStoreMax=3129", "LimitNOFILE=7168", "MemoryMax=2064M"},
    ),
    (
        "a venv whose path needs quoting",
        replace(
            SYSTEM,
            command=("/opt/ib relay/50%/$x/python", "-I", "-m", "relay", "run"),
            exec_paths=("/opt/ib relay/50%/$x",),
        ),
        "ib-relay.service",
        {
            "ExecStart=/usr/bin/python3 -I -S /usr/local/lib/ib-relay/ib-relay.pyz run",
            "ExecPaths=/usr/bin/python3",
            "ExecPaths=/usr/lib",
            "ExecPaths=-/usr/lib64",
        },
        {'ExecStart="/opt/ib relay/50%%/$$x/python" -I -m relay run', 'ExecPaths="/opt/ib relay/50%%/$x"'},
    ),
    (
        "a user without user namespaces",
        (USER, replace(USER, namespaces=False)),
        "ib-relay.service",
        {
            "# These need user namespaces, which some systems forbid to users; left out there.",
            "PrivateUsers=yes",
            "PrivateDevices=yes",
            "PrivateIPC=yes",
            "PrivateTmp=yes",
            "ProtectControlGroups=yes",
            "ProtectHome=read-only",
            "ProtectKernelTunables=yes",
            "ProtectSystem=strict",
        },
        set(),
    ),
]


@pytest.mark.parametrize("what, targets, name, gone, new", DIFFERENCES, ids=[row[0] for row in DIFFERENCES])
def test_only_what_must_differ_does(what, targets, name, gone, new):
    one, other = targets if isinstance(targets, tuple) else (SYSTEM, targets)
    assert changed(one, other, name) == (gone, new)


def test_every_map_gets_a_socket_unit_of_its_own_because_one_unit_has_one_name():
    files = rendered(TWO_MAPS)
    assert list(files) == [
        "ib-relay-paper.socket",
        "ib-relay-live.socket",
        "ib-relay.service",
        "ib-relay-closed.target",
    ]
    assert "FileDescriptorName=live\n" in files["ib-relay-live.socket"]
    assert "ListenStream=127.0.0.1:4004\n" in files["ib-relay-live.socket"]
    assert "Requires=ib-relay-paper.socket ib-relay-live.socket\n" in files["ib-relay.service"]
    assert "Conflicts=ib-relay-paper.socket ib-relay-live.socket\n" in files["ib-relay-closed.target"]


def test_a_user_unit_has_nothing_that_only_the_system_can_do():
    text = "".join(rendered(USER).values())
    assert not [
        word for word in ("DynamicUser", "IPAddress", "ProtectKernelLogs", "CapabilityBoundingSet") if word in text
    ]


@pytest.mark.parametrize(
    "text, values, expected",
    [
        ("a\nK=1\nb", ["2"], "a\nK=2\nb"),
        ("a\nK=1\nK=2\nb", ["3"], "a\nK=3\nb"),
        ("a\nK=1\nb", ["2", "3"], "a\nK=2\nK=3\nb"),
        ("a\n# why\n# how\nK=1\nb", [], "a\nb"),
        ("a\n\n# why\nK=1\n\nb", [], "a\n\nb"),
        ("a\nKK=1\nK=1\nb", ["2"], "a\nKK=1\nK=2\nb"),
    ],
)
def test_values_are_replaced_where_they_stand(text, values, expected):
    assert with_values(text, "K", values) == expected


def test_a_template_without_the_key_is_a_fault_of_ours():
    with pytest.raises(KeyError):
        with_values("a=1", "b", [])


@pytest.mark.parametrize(
    "word, expected",
    [("/usr/bin/python3", "/usr/bin/python3"), ("a b", '"a b"'), ("50%", "50%%"), ('a"b\\', '"a\\"b\\\\"'), ("", '""')],
)
def test_words_are_quoted_as_systemd_reads_them(word, expected):
    assert quoted(word) == expected


# What launchd would choke on or do silently wrong: relative programs, "~" and "$VAR" (never expanded), a number where a
# string belongs, a port open to everybody.
TYPES = {
    "Label": str,
    "ProgramArguments": list,
    "Sockets": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LimitLoadToSessionType": list,
    "Umask": int,
    "WorkingDirectory": str,
    "StandardErrorPath": str,
    "UserName": str,
    "GroupName": str,
    "InitGroups": bool,
}


def lint(job: dict) -> list[str]:
    """What is wrong with a launchd job."""
    wrong = [f"unknown key {key}" for key in job if key not in TYPES]
    wrong += [f"{key} is no {TYPES[key].__name__}" for key in job if key in TYPES and type(job[key]) is not TYPES[key]]
    arguments = job.get("ProgramArguments") or [""]
    wrong += [] if str(arguments[0]).startswith("/") else ["the program is not absolute"]
    words = [*arguments, job.get("StandardErrorPath", "/"), job.get("WorkingDirectory", "/")]
    wrong += [
        f"{word} is not expanded" for word in words if not isinstance(word, str) or word[:1] == "~" or "$" in word
    ]
    for entries in job.get("Sockets", {}).values():
        for entry in entries:
            wrong += [f"{key} is no string" for key, value in entry.items() if not isinstance(value, str)]
            wrong += ["open to everybody"] if entry.get("SockNodeName", "0.0.0.0") in ("0.0.0.0", "::") else []
    return wrong


@pytest.mark.parametrize("target", [DAEMON, AGENT], ids=["daemon", "agent"])
def test_plists_pass_the_lint(target):
    assert lint(plistlib.loads(rendered(target)[f"{LABEL}.plist"].encode())) == []


@pytest.mark.parametrize(
    "planted",
    [
        {"ProgramArguments": ["python3", "run"]},
        {"ProgramArguments": ["/usr/bin/python3", "$HOME/ib-relay.pyz"]},
        {"StandardErrorPath": "~/Library/Logs/x"},
        {"ExitTimeOut": "15"},
        {"RunAtLoad": 1},
        {"Sockets": {"default": [{"SockServiceName": 4003, "SockNodeName": "::1"}]}},
        {"Sockets": {"default": [{"SockServiceName": "4003"}]}},
        {"NetworkState": True},
    ],
    ids=str,
)
def test_the_lint_finds_what_is_planted(planted):
    assert lint(plistlib.loads(rendered(DAEMON)[f"{LABEL}.plist"].encode()) | planted)


VARIANTS = {
    "system": SYSTEM,
    "system, 253": replace(SYSTEM, version=253),
    "gateway elsewhere": replace(SYSTEM, upstreams=("localhost", "10.3.1.187")),
    "two maps": TWO_MAPS,
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
@pytest.mark.parametrize("name", VARIANTS)
def test_systemd_itself_finds_no_fault_and_an_exposure_of_at_most_one(name, tmp_path):
    here = int(subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout.split()[1])
    if VARIANTS[name].version > here:
        pytest.skip(f"systemd {here} does not know what is rendered for {VARIANTS[name].version}")
    paths = []
    for file, text in rendered(VARIANTS[name]).items():
        paths.append(tmp_path / file)
        paths[-1].write_text(text)
    verify = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    assert (verify.returncode, verify.stdout + verify.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=10", tmp_path / "ib-relay.service"]
    security = subprocess.run(command, capture_output=True, text=True)
    assert security.returncode == 0, security.stdout.splitlines()[-1]
