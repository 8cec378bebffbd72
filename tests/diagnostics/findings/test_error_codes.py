"""diagnostics/findings/error_codes.py: every code of the table, and the findings that the rules make of them."""

import pytest

from diagnostics.evidence import Asked, Evidence
from diagnostics.findings.catalogue import CATALOGUE
from diagnostics.findings.error_codes import ERROR_CODES
from diagnostics.rules.diagnose import diagnose
from relay.wire.codes import CODES, Kind
from tests.diagnostics.recorded import probe


def test_every_code_that_says_something_of_a_connection_is_explained():
    assert list(ERROR_CODES) == sorted(ERROR_CODES) and ERROR_CODES.keys() <= CODES.keys()
    of_requests = {Kind.REQUEST, Kind.CLIENT_MADE, Kind.INFORMATIONAL}
    assert {code for code, row in CODES.items() if row.kind not in of_requests} <= ERROR_CODES.keys()
    for code, row in ERROR_CODES.items():
        assert row.code == code and row.means.endswith(".")
        assert not row.finding or row.finding in CATALOGUE


@pytest.mark.parametrize(
    "code", [code for code, row in CODES.items() if row.kind is not Kind.CLIENT_MADE and code in ERROR_CODES]
)
def test_a_session_that_hears_it_gets_the_finding_it_belongs_to_or_none(code):
    """Those that take something back, and a warning before the limit, belong to a finding and do not cause it."""
    run = Evidence(0.0, "0", Asked(), probes=(probe("192.168.1.5", "configured", codes=(code,)),))
    found = {finding.code for finding in diagnose(run).findings} & {row.finding for row in ERROR_CODES.values()}
    causes_none = CODES[code].kind in (Kind.OK, Kind.RECOVERED, Kind.INFORMATIONAL) or not ERROR_CODES[code].finding
    assert found == (set() if causes_none else {ERROR_CODES[code].finding})
