"""The files of the languages, each as it stands, and when they are read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aplus_adapters
from aplus_adapters.protocol.messages.result import Result
from aplus_adapters.protocol.results import CODES, Reason, look_up
from aplus_adapters.web.texts import TEXTS, choose_language
from aplus_adapters.web.view import PageState

WEB = Path(aplus_adapters.__file__).parent / "web"
FILES = {path.stem: path for path in sorted((WEB / "languages").iterdir())}
TEMPLATE = (WEB / "assets" / "page.html").read_text()
ENGLISH = json.loads(FILES["en"].read_text())


def read(language):
    """Return the pairs of a language's file, those that come twice too."""
    return json.loads(FILES[language].read_text(), object_pairs_hook=list)


def placeholders(text):
    return sorted(re.findall(r"\{.*?\}", text))


@pytest.mark.parametrize("language", FILES)
def test_a_language_has_the_keys_of_english_in_its_order_and_each_once(language):
    assert [key for key, _ in read(language)] == list(ENGLISH)


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
    asked = set(re.findall(r"\btexts\.(\w+)", TEMPLATE)) | {"amount", "thousands", "decimal", "qr"}
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
design = PageDesign(texts={"fr": {"paid": "Merci"}})
design.all_texts[choose_language("ja", design.all_texts)]
design.all_texts["ja"], PageDesign().all_texts["ja"]
print([path.rpartition("languages")[2][1:] for path in opened if path.endswith(".json")])
"""


def test_a_language_is_read_when_it_is_first_shown_and_only_once():
    command = [sys.executable, "-c", SCRIPT]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["[]", "['en.json', 'ja.json']"]
