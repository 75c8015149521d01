"""The files of the languages, each as it stands, and when they are read."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import aplus_adapters
from aplus_adapters.protocol.amounts import Amount
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.results import CODES, Reason, look_up
from aplus_adapters.web.texts import TEXTS, choose_language, format_amount, format_time
from aplus_adapters.web.view import PageState

WEB = Path(aplus_adapters.__file__).parent / "web"
FILES = {path.stem: path for path in sorted((WEB / "languages").iterdir())}
TEMPLATE = "".join((WEB / "assets" / name).read_text() for name in ("page.html", "error.html"))
ENGLISH = json.loads(FILES["en"].read_text())["texts"]
# Those of the wallets' people, and those of shops elsewhere.
WANTED = [
    "en",
    "zh",
    "zh-Hant",
    "ja",
    "ko",
    "th",
    "vi",
    "ms",
    "id",
    "fil",
    "mn",
    "ar",
    "de",
    "fr",
    "it",
    "es",
    "pt",
]


def read(language):
    """Return the pairs of a language's file, those that come twice too."""
    file = dict(json.loads(FILES[language].read_text(), object_pairs_hook=list))
    return file["texts"]


def placeholders(text):
    return sorted(re.findall(r"\{.*?\}", text))


@pytest.mark.parametrize("language", FILES)
def test_a_language_has_the_keys_of_english_in_its_order_and_each_once(language):
    assert [key for key, _ in read(language)] == list(ENGLISH)


def test_the_languages_are_those_of_the_wallets_people_and_of_shops():
    assert set(FILES) == set(WANTED)


@pytest.mark.parametrize("language", FILES)
def test_a_file_says_its_name_and_whether_a_native_reader_has_read_it(language):
    file = json.loads(FILES[language].read_text())
    assert list(file) == ["language", "read_by_a_native_reader", "texts"]
    assert file["read_by_a_native_reader"] in (True, False)
    assert file["language"]


@pytest.mark.parametrize(
    ("language", "usd", "small", "date"),
    [
        ("en", "USD 1,234.50", "USD 0.05", "2026-03-01 12:00"),
        ("zh", "USD 1,234.50", "USD 0.05", "2026年03月01日 12:00"),
        ("zh-Hant", "USD 1,234.50", "USD 0.05", "2026年03月01日 12:00"),
        ("ja", "USD 1,234.50", "USD 0.05", "2026年03月01日 12:00"),
        ("ko", "USD 1,234.50", "USD 0.05", "2026. 03. 01. 12:00"),
        ("th", "USD 1,234.50", "USD 0.05", "01/03/2026 12:00"),
        ("vi", "1.234,50 USD", "0,05 USD", "01/03/2026 12:00"),
        ("ms", "USD 1,234.50", "USD 0.05", "01/03/2026 12:00"),
        ("id", "USD 1.234,50", "USD 0,05", "01/03/2026 12:00"),
        ("fil", "USD 1,234.50", "USD 0.05", "03/01/2026 12:00"),
        ("mn", "USD 1,234.50", "USD 0.05", "2026.03.01 12:00"),
        ("ar", "1,234.50 USD", "0.05 USD", "01/03/2026 12:00"),
        ("de", "1.234,50 USD", "0,05 USD", "01.03.2026 12:00"),
        ("fr", "1\u202f234,50 USD", "0,05 USD", "01/03/2026 12:00"),
        ("it", "1.234,50 USD", "0,05 USD", "01/03/2026 12:00"),
        ("es", "1234,50 USD", "0,05 USD", "01/03/2026 12:00"),
        ("pt", "USD 1.234,50", "USD 0,05", "01/03/2026 12:00"),
    ],
)
def test_a_language_writes_money_and_time_by_its_own_habits(language, usd, small, date):
    texts = TEXTS[language]
    assert format_amount(Amount("USD", 123450), texts) == usd
    assert format_amount(Amount("USD", 5), texts) == small
    assert format_time(datetime(2026, 3, 1, 12, tzinfo=UTC), texts) == f"{date} (UTC+00:00)"


def test_spanish_groups_from_five_digits_on():
    texts = TEXTS["es"]
    assert format_amount(Amount("JPY", 12345), texts) == "12.345 JPY"
    assert format_amount(Amount("JPY", 1234), texts) == "1234 JPY"


@pytest.mark.parametrize("language", FILES)
def test_a_language_has_the_placeholders_of_english(language):
    for key, text in read(language):
        assert placeholders(text) == placeholders(ENGLISH[key]), key


@pytest.mark.parametrize("language", FILES)
def test_no_text_is_empty_or_begins_or_ends_with_a_space(language):
    for key, text in read(language):
        assert text, key
        assert text.isspace() or text == text.strip(), key


@pytest.mark.parametrize("language", FILES)
def test_every_reason_that_a_result_may_give_has_a_text(language):
    unknown = [look_up(Result(result_code="NEW", result_status=status)) for status in "SFU"]
    reasons = {row.reason for row in (*CODES.values(), *unknown)} - {None}
    keys = dict(read(language)).keys()
    assert {f"because_{reason}" for reason in reasons} <= keys
    assert reasons == set(Reason), "a reason that no result gives"


def test_english_has_every_key_that_a_page_asks_for_and_no_other():
    asked = set(re.findall(r"\btexts\.(\w+)", TEMPLATE)) | {"qr", "pay"}
    asked |= {"amount", "thousands", "decimal", "grouped_from", "date"}
    asked |= {"time", "payment_number", "wallet", "refunded_amount"}  # the lines of a receipt
    for kind in ("payment", "order", "changed", "often", "shop", "request"):
        asked |= {f"error_{kind}", f"error_{kind}_more"}
    asked |= {state.value for state in PageState}
    asked |= {f"because_{reason}" for reason in Reason}
    asked |= {f"{state}_more" for state in PageState} & set(ENGLISH)
    assert asked == set(ENGLISH)


@pytest.mark.parametrize("language", FILES)
def test_a_language_is_chosen_by_the_name_of_its_file(language):
    assert FILES[language].suffix == ".json"
    assert choose_language(f"{language}, x;q=0.1") == language
    assert TEXTS[language] == dict(read(language))


def test_the_plus_stays_on_the_right_of_alipay_where_one_reads_from_right_to_left():
    texts = "".join(TEXTS["ar"].values())
    assert texts.count("Alipay+") == texts.count("Alipay+\u200e") > 0


SCRIPT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from aplus_adapters import PageDesign
from aplus_adapters.aplus_pay import AplusPay
from aplus_adapters.web.texts import choose_language
PageDesign()
print([path for path in opened if path.endswith(".json")])
design = PageDesign(texts={"sv": {"paid": "Tack"}})
design.all_texts[choose_language("ja", design.all_texts)]
design.all_texts["ja"], PageDesign().all_texts["ja"]
print([path.rpartition("languages")[2][1:] for path in opened if path.endswith(".json")])
"""


def test_a_language_is_read_when_it_is_first_shown_and_only_once():
    command = [sys.executable, "-c", SCRIPT]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["[]", "['en.json', 'ja.json']"]
