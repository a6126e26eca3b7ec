"""Names of languages, there and back."""

from server.engines.languages import LANGUAGES, NAMES


def test_every_code_has_one_name_that_leads_back_to_it():
    assert set(NAMES) == set(LANGUAGES.values())
    assert all(LANGUAGES[name] == code for code, name in NAMES.items())
    assert (NAMES["en"], NAMES["es"], NAMES["my"]) == ("english", "spanish", "myanmar")
