"""How much of a wrong setting an error shows: enough to find it, and never a key."""

import pytest

from aplus_adapters import ConfigurationError
from aplus_adapters.runtime.settings import _key, _ring


@pytest.mark.parametrize("length", [1, 200, 201])
def test_a_long_name_of_a_file_is_counted_and_a_short_one_shown(length):
    value = "!" * length
    with pytest.raises(ConfigurationError) as refused:
        _key({"PRIVATE_KEY_FILE": value}, "APLUS_", "PRIVATE_KEY")
    shown = value if length <= 200 else f"a name of {length} characters"
    assert f"APLUS_PRIVATE_KEY_FILE: cannot read {shown} (" in str(refused.value)


@pytest.mark.parametrize("length", [33, 42, 43, 99])
def test_a_wrong_version_of_a_key_is_shown_up_to_sixty_characters_of_its_variable(length):
    name = "PUBLIC_KEY_" + "v" * length
    with pytest.raises(ConfigurationError) as refused:
        _ring({name: "key"}, "APLUS_")
    assert str(refused.value).startswith(f"APLUS_{name}"[:60] + ": found a keyVersion of ")


def test_a_key_file_is_read_up_to_one_byte_too_many_and_named_up_to_sixty_characters(tmp_path):
    from aplus_adapters.runtime import settings

    file = tmp_path / ("k" * 61)
    file.write_bytes(b"x" * (settings._MAX_FILE + 2))
    content, name = _key({"PRIVATE_KEY_FILE": str(file)}, "APLUS_", "PRIVATE_KEY")
    assert len(content) == settings._MAX_FILE + 1
    assert name == f"APLUS_PRIVATE_KEY_FILE ({'k' * 60})"


@pytest.mark.parametrize("name", ["PRIVATE_KEY", "PUBLIC_KEY", "PUBLIC_KEY_2"])
def test_a_key_that_is_given_as_text_and_as_a_file_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"APLUS_{name}: found APLUS_{name}_FILE set as"):
        _key({name: "text", f"{name}_FILE": "file"}, "APLUS_", name)
