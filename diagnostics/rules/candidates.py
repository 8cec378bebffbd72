"""What a finding could be where the run alone cannot tell: explanations in order, with the check that decides.

The catalogue has the orders, likely ones first. What is seen of the gateway's side, of this place, in its log or on
other routes takes off what it excludes, moves up what it supports, and down what it makes unlikely. It never makes one
certain: that is what rules are for.
"""

from __future__ import annotations

from collections.abc import Iterable

from diagnostics.evidence import Probe
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.entry import Explanation, Sign
from diagnostics.findings.wording import worded
from diagnostics.rules.advice import filled_in
from diagnostics.rules.between import between
from diagnostics.rules.diagnosis import Candidate
from diagnostics.rules.proved import is_disproved, is_doubted
from diagnostics.rules.run_view import RunView
from diagnostics.rules.signs import closed_by_hello, is_shown


def candidates(
    run: RunView, code: str, probes: tuple[Probe, ...], known_false: frozenset[str] = frozenset()
) -> tuple[Candidate, ...]:
    """The explanations of this finding; () where what was seen leaves only one, or the finding is the explanation.

    `known_false`: codes that do not apply at this time. What the run's routes disprove is left out, too.
    """

    def any_of(signs: Iterable[Sign]) -> bool:
        return shows_any(run, signs, probes)

    def rank(explanation: Explanation) -> int:
        entry = CATALOGUE[explanation.code]
        if any_of(explanation.first_with):
            return -1
        if any_of(entry.supported_by):
            return 0
        return 2 if any_of(entry.doubted_by) or is_doubted(run, entry.code, probes) else 1

    possible = [
        explanation
        for explanation in CATALOGUE[code].explanations
        if explanation.code not in known_false
        and not is_disproved(run, explanation.code, probes)
        and not any_of(CATALOGUE[explanation.code].excluded_by)
    ]
    possible.sort(key=rank)  # stable: in the entry's order otherwise
    if [explanation.code for explanation in possible] in ([], [code]):
        return ()
    return tuple(Candidate(explanation.code, _check(run, explanation, probes)) for explanation in possible)


def shows_any(run: RunView, signs: Iterable[Sign], probes: tuple[Probe, ...]) -> bool:
    """Whether the run, or these probes of it, show one of these signs."""
    return any(is_shown(sign, run, probes) for sign in signs)


def _check(run: RunView, explanation: Explanation, probes: tuple[Probe, ...]) -> str:
    after_fin = explanation.check_after_fin if closed_by_hello(probes) else ""
    from_loopback = explanation.check_from_loopback if is_shown(Sign.FROM_LOOPBACK, run, probes) else ""
    first = explanation.check_if_first if shows_any(run, explanation.first_with, probes) else ""
    check = first or from_loopback or after_fin or explanation.check or CATALOGUE[explanation.code].check
    about = probes[0] if probes else None
    return filled_in(worded(run.setting, check), about, between(run, about))


def explanation_of(code: str, candidate: str) -> Explanation | None:
    """What the entry of a finding says of one of its candidates."""
    return next((known for known in CATALOGUE[code].explanations if known.code == candidate), None)


def meaning(code: str, candidate: str) -> str:
    """What a candidate of this finding is: its title, or the likeliest cause of the finding if it is the finding."""
    known, entry = explanation_of(code, candidate), CATALOGUE[candidate]
    if known is not None and known.meaning:
        return known.meaning
    return entry.causes[0] if candidate == code else entry.title
