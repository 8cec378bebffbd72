"""A setting whose value is not what was meant: what is wrong with it, and what it would be without that.

ib-diagnose goes on with what was meant and says so. The relay refuses, and says what is wrong.

Values come from places that keep more than people see: `docker run --env-file` keeps quotes, blanks, a comment and the
CR of a Windows line end; Kubernetes sets IB_PORT to tcp://ADDRESS:PORT where a Service is called "ib".
A client takes such a value as it stands, and fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INVISIBLE = "\ufeff\u200b\u2060"  # what str.strip() leaves: byte order mark, spaces of no width
QUOTES = "'\"\u2018\u2019\u201c\u201d"
LINK = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@]+)(?:[/?#].*)?", re.ASCII | re.IGNORECASE)
# Not two numbers: 4001:4002 is a mapping, and either may be meant.
HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]*\]|\d+(?:\.\d+){3}|[\w.-]*[a-z_-][\w.-]*):(\d+)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RepairedValue:
    """A value as it was meant, and what was wrong with it, for people; nothing where it was as it should be."""

    text: str
    wrong: tuple[str, ...] = ()


def repaired(text: str, *, only_port: bool = False, of_service: bool = True) -> RepairedValue:
    """The value without blanks around it, quotes, a comment and a scheme; with `only_port` also without a host.

    `of_service`: Kubernetes may have set it, by the name of a Service.

    Whether it can be read then is for the caller to find out.
    """
    wrong: list[str] = []
    text = _without_blanks(text, wrong)
    uncommented = re.sub(r"\s+#.*", "", text)
    if uncommented != text:
        wrong.append("a comment behind it")
        text = uncommented
    unquoted = text.strip(QUOTES)
    if unquoted != text:
        wrong.append("quotes around it")
        text = _without_blanks(unquoted, wrong)
    link = LINK.fullmatch(text)
    if link:
        scheme = link[1].lower()
        by_kubernetes = ", as Kubernetes sets it for a Service of that name" if scheme == "tcp" and of_service else ""
        wrong.append(f"{scheme}:// before it{by_kubernetes}")
        text = link[2]
    port = HOST_AND_PORT.fullmatch(text) if only_port else None
    if port:
        wrong += [] if link else ["a host before it"]
        text = port[1]
    return RepairedValue(text, tuple(dict.fromkeys(wrong)))


def _without_blanks(text: str, wrong: list[str]) -> str:
    stripped = text.strip().strip(INVISIBLE).strip()
    around = text.replace(stripped, "", 1) if stripped else ""
    if "\r" in around:
        wrong.append("a CR at its end, as in a file with Windows line ends")
    elif any(sign in around for sign in INVISIBLE):
        wrong.append("invisible characters around it")
    elif around:
        wrong.append("blanks around it")
    return stripped
