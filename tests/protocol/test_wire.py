"""JSON: nothing ambiguous is believed, and nothing breaks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aplus_adapters import InvalidValue, MessageError
from aplus_adapters.protocol import wire

HAZARDS = {
    "nothing": b"",
    "no object": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "a duplicate key": b'{"a":1,"a":2}',
    "a nested duplicate key": b'{"b":[{"a":1,"\\u0061":2}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "an escaped lone surrogate": b'{"a":"\\ud800"}',
    "an escaped lone surrogate in a key": b'{"b":{"\\udfff":1}}',
    "an escaped lone surrogate in an array": b'{"b":["\\uDC00"]}',
    "an escaped NUL": b'{"a":"\\u0000"}',
    "a raw NUL": b'{"a":"\x00"}',
    "a raw control character": b'{"a":"\x1f"}',
    "too many levels": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "very many levels": b'{"a":' + b"[" * 100_000,
    "many objects": b'{"a":' * 50_000,
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "not UTF-8": b'{"a":"\xff"}',
    "an encoded surrogate": b'{"a":"\xed\xa0\x80"}',
    "two objects": b"{}{}",
    "trailing garbage": b"{}x",
    "a single quote": b"{'a':1}",
    "a trailing comma": b'{"a":1,}',
    "a leading zero": b'{"a":01}',
    "an underscore": b'{"a":1_0}',
    "a bad escape": b'{"a":"\\x"}',
}


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_is_refused_by_our_error(name):
    with pytest.raises(MessageError, match="found") as refused:
        wire.loads(HAZARDS[name])
    assert refused.value.__cause__ is None


def test_numbers_keep_their_digits():
    huge = "1" * 5000
    body = f'{{"a":{huge},"b":1.10,"c":-1E400,"d":[0]}}'.encode()
    assert wire.loads(body) == {"a": huge, "b": "1.10", "c": "-1E400", "d": ["0"]}


def test_what_is_legal_passes():
    text = {"emoji": "🍜", "pair": "\U0001f35c", "deep": [[[[{}]]]], "t": True, "n": None, "": ""}
    assert wire.loads(json.dumps(text).encode()) == text
    assert wire.loads(json.dumps(text, ensure_ascii=False, indent=2).encode()) == text


def test_thirty_two_levels_pass_and_brackets_in_strings_do_not_count():
    assert wire.loads(b'{"a":' + b"[" * 31 + b"]" * 31 + b"}")
    brackets = r"[{\"" * 50_000
    assert wire.loads(f'{{"a":"{brackets}"}}'.encode())["a"] == brackets.replace("\\", "")


@given(st.binary() | st.text(alphabet='[]{}",:\\u0d81ea \n').map(str.encode))
def test_any_bytes_give_an_object_or_our_error(body):
    try:
        assert isinstance(wire.loads(body), dict)
    except MessageError:
        pass


@pytest.mark.parametrize("value", ["\ud800", object(), float("nan"), b"x"])
def test_what_json_in_utf8_cannot_hold_is_not_written(value):
    with pytest.raises(InvalidValue, match="cannot hold"):
        wire.dumps({"a": value})


def test_text_is_written_as_utf8_without_spaces():
    assert wire.dumps({"a": "ü🍜", "b": ["x"]}) == '{"a":"ü🍜","b":["x"]}'.encode()


def nested(levels):
    return b'{"a":' * levels + b'"x"' + b"}" * levels


@pytest.mark.parametrize("body", [nested(32), b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"])
def test_the_deepest_legal_message_is_read_whatever_stands_beside_it(body):
    assert wire.loads(body)
    # Brackets that are not nested, or are text, are not counted.
    wide = b'{"b":"' + b"[{" * 500 + b'","c":[' + b",".join([b"{}"] * 500) + b"]," + body[1:]
    assert set(wire.loads(wide)) == {"a", "b", "c"}


@pytest.mark.parametrize("levels", [33, 500, 100_000])
def test_one_level_more_is_refused_by_what_it_is(levels):
    with pytest.raises(MessageError, match="found more than 32 levels of nesting"):
        wire.loads(nested(levels))


def test_where_the_json_breaks_is_said():
    with pytest.raises(MessageError, match=r"found no legal JSON at character 5, expected an obj"):
        wire.loads(b'{"a":}')
