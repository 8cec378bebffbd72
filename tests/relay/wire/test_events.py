"""Masked accounts: enough to recognise one's own, never the whole number."""

import pytest

from relay.wire.events import MAX_ACCOUNTS_SHOWN, mask_accounts


@pytest.mark.parametrize(
    "account, masked",
    [
        ("DU1234567", "DU***567"),
        ("U7654321", "U7***321"),
        ("U123456", "U1***456"),
        ("U12345", "U1***"),
        ("DU1", "DU***"),
        ("", "***"),
        ("D\nx1234\x1b67", "D?***?67"),
    ],
)
def test_an_account_is_never_shown_in_full(account, masked):
    assert mask_accounts((account,)) == (masked,)


def test_of_many_accounts_only_the_first_are_shown():
    assert len(mask_accounts(tuple(f"DU{n}" for n in range(5000)))) == MAX_ACCOUNTS_SHOWN
