"""Masked accounts: enough to recognise one's own, never the whole number."""

import pytest

from relay.wire.events import MAX_ACCOUNTS_SHOWN, mask_accounts


@pytest.mark.parametrize(
    "account, masked",
    [
        ("DU1234567", "DU***567"),
        ("DUH1234567", "DU***567"),
        ("U7654321", "U***21"),
        ("U123456", "U***56"),
        ("U12345", "U***"),
        ("U1234", "U***"),
        ("DU12", "***"),
        ("", "***"),
        ("D\nx1234\x1b67", "D ***?67"),
        ("D,x1234,67", "D?***?67"),
    ],
)
def test_an_account_is_never_shown_in_full(account, masked):
    assert mask_accounts((account,)) == (masked,)


@pytest.mark.parametrize("length", range(5, 65))
def test_four_characters_of_an_account_stay_hidden(length):
    account = "".join(chr(0x4E00 + at) for at in range(length))
    (masked,) = mask_accounts((account,))
    assert sum(letter not in masked for letter in account) >= 4


def test_of_many_accounts_only_the_first_are_shown():
    assert len(mask_accounts(tuple(f"DU{n}" for n in range(5000)))) == MAX_ACCOUNTS_SHOWN
