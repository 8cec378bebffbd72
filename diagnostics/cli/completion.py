"""Completion for bash, zsh and fish, by the variable and in the words of click, of which `ib-relay` is made.

    eval "$(_IB_DIAGNOSE_COMPLETE=bash_source ib-diagnose)"       zsh_source, fish_source: the same for these

A shell asks with bash_complete, zsh_complete or fish_complete and the line so far in COMP_WORDS; COMP_CWORD is the
number of the word at hand, for fish the word itself.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from diagnostics.cli import output
from diagnostics.cli.output import CommandError

BASH = """\
_ib_diagnose_completion() {
    local IFS=$'\\n' kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        if [[ $kind == file ]]; then
            compopt -o default
        elif [[ $kind == plain ]]; then
            COMPREPLY+=("$value")
        fi
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _IB_DIAGNOSE_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _ib_diagnose_completion ib-diagnose
"""
ZSH = """\
#compdef ib-diagnose
_ib_diagnose_completion() {
    local -a lines described
    local kind value help
    local -x COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) _IB_DIAGNOSE_COMPLETE=zsh_complete
    lines=("${(@f)$(ib-diagnose)}")
    for kind value help in ${lines}; do
        if [[ $kind == file ]]; then
            _files
        elif [[ $kind == plain ]]; then
            described+=("${value//:/\\\\:}:$help")
        fi
    done
    [[ -n $described ]] && _describe -V unsorted described -U
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _ib_diagnose_completion "$@"
else
    compdef _ib_diagnose_completion ib-diagnose
fi
"""
FISH = """\
function _ib_diagnose_completion
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    set -lx _IB_DIAGNOSE_COMPLETE fish_complete
    for line in (ib-diagnose)
        set -l parts (string split -m 1 "," $line)
        if test $parts[1] = file
            __fish_complete_path (commandline -t)
        else
            echo $parts[2]
        end
    end
end
complete --no-files --command ib-diagnose --arguments "(_ib_diagnose_completion)"
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
FORMS = {"bash": "{0},{1}\n", "zsh": "{0}\n{1}\n{2}\n", "fish": "{0},{1}\t{2}\n"}


class Completion(NamedTuple):
    """One way to go on: `kind` is plain, or file where the shell knows better."""

    kind: str
    value: str
    help: str = "_"  # as click says "none"


def complete(environ: Mapping[str, str], variable: str) -> int:
    """Writes the script, or the completions; returns the exit code. Raises CommandError for anything else."""
    asked = environ[variable]
    shell, _, what = asked.partition("_")
    if shell not in SCRIPTS or what not in ("source", "complete"):
        allowed = ", ".join(f"{name}_source" for name in SCRIPTS)
        raise CommandError(f"{variable}={asked!r:.40}: one of {allowed} was expected")
    if what == "source":
        output.write(SCRIPTS[shell])
        return 0
    found = "".join(FORMS[shell].format(*way) for way in completions(*_line(environ, shell)))
    if found:
        output.Sink(None, "").write(found)  # a document: fish wants its tabs
    return 0


def _line(environ: Mapping[str, str], shell: str) -> tuple[list[str], str]:
    """The words before the one at hand, without our name, and that one."""
    text, at = environ.get("COMP_WORDS", ""), environ.get("COMP_CWORD", "")
    try:
        words = shlex.split(text)
    except ValueError:  # an open quote
        words = text.split()
    if shell == "fish":
        before = words[1:]
        return (before[:-1] if at and before and before[-1] == at else before), at
    number = int(at) if at.isascii() and at.isdigit() and len(at) < 6 else len(words)
    return words[1:number], words[number] if number < len(words) else ""


def completions(before: list[str], word: str) -> Iterator[Completion]:
    """What can come at the place of this word, after these."""
    from diagnostics.cli.commands import COMMANDS, DEFAULT, parser_of

    if not before and not word.startswith("-"):
        yield from (Completion("plain", name, one.summary) for name, one in COMMANDS.items() if name.startswith(word))
        return
    if "--" in before:
        yield Completion("file", word)
        return
    name = before[0] if before and before[0] in COMMANDS else DEFAULT
    options = {text: action for action in parser_of(name)._actions for text in action.option_strings}
    waiting = options.get(before[-1]) if before else None
    if waiting is not None and waiting.nargs != 0:
        yield from _values(waiting, word)
    elif word.startswith("-"):
        shown = (
            (text, one) for text, one in options.items() if text.startswith("--") and one.help != argparse.SUPPRESS
        )
        yield from (Completion("plain", text, one.help or "_") for text, one in shown if text.startswith(word))
    elif name == "explain":
        yield from _codes(word)


def _values(option: argparse.Action, word: str) -> Iterator[Completion]:
    if option.choices is not None:
        yield from (Completion("plain", str(choice)) for choice in option.choices if str(choice).startswith(word))
    elif option.metavar in ("FILE", "FOLDER"):
        yield Completion("file", word)


def _codes(word: str) -> Iterator[Completion]:
    from diagnostics.findings.catalogue import CATALOGUE

    for code, entry in CATALOGUE.items():
        if code.startswith(word.upper()):
            yield Completion("plain", code, entry.title)
