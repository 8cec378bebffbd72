"""What composable behaviours change: accounts, order ids, language."""

import pytest

from relay.practice import Practice
from relay.practice.variants import localised, of_session


@pytest.mark.parametrize(
    ("typed", "turn", "accounts", "order_id"),
    [
        ("normal", 1, ("DU1234567",), 1),
        ("live-account", 0, ("U1234567",), 1),
        ("fa-accounts=1", 0, ("F1234567", "U1234568"), 1),
        ("accounts-swapped", 0, ("DU1234567",), 1),
        ("accounts-swapped", 1, ("U7654321",), 1),
        ("accounts-swapped+live-account", 1, ("DU7654321",), 1),
        ("accounts-swapped+fa-accounts=1", 1, ("DF7654321", "DU8654321"), 1),
        ("order-ids-back", 0, ("DU1234567",), 1001),
        ("order-ids-back", 3, ("DU1234567",), 701),
        ("order-ids-back", 99, ("DU1234567",), 1),
    ],
)
def test_a_session_has_accounts_and_order_ids_by_its_turn(typed, turn, accounts, order_id):
    settings = of_session(Practice.named(typed), turn)
    assert (settings.accounts, settings.first_order_id) == (accounts, order_id)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (None, "Market data farm connection is OK:usfarm"),
        ("es", "La conexi\u00f3n con los datos de mercado est\u00e1 bien:usfarm"),
        ("zh", "\u5e02\u573a\u6570\u636e\u8fde\u63a5\u6b63\u5e38:usfarm"),
    ],
)
def test_a_text_is_translated_as_far_as_there_are_words(language, expected):
    assert localised("Market data farm connection is OK:usfarm", language) == expected
    assert localised("Order rejected", language) == "Order rejected"
