"""Masked accounts: enough to recognise one's own, never the whole number."""

import pytest

from relay.wire.events import MAX_ACCOUNTS_SHOWN, accounts_said, mask_accounts


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


SAID = [
    # accounts shown, all there are, what is said
    (("a",), 1, "a"),
    (("a", "b"), 2, "a, b"),
    (("a", "b", "c"), 3, "a, b and 1 more"),
    (("a", "b", "c"), 40, "a, b and 38 more"),
    (("a",), None, "a and perhaps more"),
    ((), None, "more accounts than the relay reads"),
    ((), 0, ""),
]


@pytest.mark.parametrize("shown, count, said", SAID)
def test_what_is_not_shown_of_the_accounts_is_counted(shown, count, said):
    assert accounts_said(shown, count, most=2) == said


def test_as_many_as_a_mask_leaves_are_shown_and_a_list_can_have_other_separators():
    shown = mask_accounts(tuple(f"DU{n}" for n in range(1_000_000, 1_000_040)))
    assert accounts_said(shown, 40, " ") == " ".join(shown) + " and 24 more"
