"""The QR picture says exactly the code, whatever the text, with a mark or without."""

import re
import sys

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from aplus_adapters.errors import ConfigurationError, InvalidValue
from aplus_adapters.web.pictures import picture_address
from aplus_adapters.web.qr import render_qr_svg

CODE = "https://codes.example/281000000000000000000000000000000000"
MARK = picture_address(
    "mark", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
)
SCALE = 4


def rasterise(svg: str) -> memoryview:
    """Draw the modules and the mark's plate of the picture, dark as 0, light as 255."""
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1])
    rows = [bytearray(b"\xff" * size) for _ in range(size)]
    path = re.search(r'stroke="#000" d="([^"]+)"', svg)[1]
    x = y = 0.0
    for command, numbers in re.findall(r"([Mmh])([^Mmh]+)", path):
        values = [float(number) for number in re.findall(r"-?[0-9.]+", numbers)]
        if command == "h":
            length = int(values[0])
            rows[int(y)][int(x) : int(x) + length] = bytes(length)
            x += length
        else:
            x, y = values if command == "M" else (x + values[0], y + values[1])
    plate = re.search(r'd="M(\d+) (\d+)h(\d+)v\3h-\3z"/><image', svg)
    if plate:
        left, top, side = map(int, plate.groups())
        for row in rows[top : top + side]:
            row[left : left + side] = b"\x7f" * side  # a mark of one grey
    big = b"".join(
        bytes(value for value in row for _ in range(SCALE)) * SCALE for row in map(bytes, rows)
    )
    return memoryview(big).cast("B", (size * SCALE, size * SCALE))


def decoded(svg: str) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(rasterise(svg))]


def test_the_picture_says_the_code():
    assert decoded(render_qr_svg(CODE)) == [CODE]


def test_a_mark_does_not_hide_the_code():
    assert decoded(render_qr_svg(CODE, mark=MARK)) == [CODE]


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=120))
def test_every_token_is_readable(text):
    assert decoded(render_qr_svg(text)) == [text]


@pytest.mark.parametrize("text", ["1", "123456789", "ABC", CODE])
def test_it_is_never_a_micro_qr(text):
    (found,) = zxingcpp.read_barcodes(rasterise(render_qr_svg(text)))
    assert found.format == zxingcpp.BarcodeFormat.QRCode


@pytest.mark.parametrize(("mark", "levels"), [(None, "QH"), (MARK, "H")])
def test_error_correction_is_high_enough(mark, levels):
    (found,) = zxingcpp.read_barcodes(rasterise(render_qr_svg(CODE, mark=mark)))
    assert found.ec_level in levels


def test_the_picture_brings_its_own_white_plate_and_quiet_zone():
    svg = render_qr_svg(CODE)
    size = int(re.search(r'viewBox="0 0 (\d+) ', svg)[1])
    assert f'<path fill="#fff" d="M0 0h{size}v{size}h-{size}z"/>' in svg
    assert 'stroke="#000" d="M4 4.5h7' in svg


def test_the_picture_is_an_image_with_a_name_and_no_size_of_its_own():
    svg = render_qr_svg(CODE, label='say "this" <b>')
    assert svg.startswith(
        '<svg role="img" aria-label="say &quot;this&quot; &lt;b&gt;" viewBox="0 0 '
    )
    assert svg.endswith("</svg>")
    assert "width=" not in svg.partition(">")[0]
    assert "style" not in svg


@settings(deadline=None, max_examples=40)
@given(
    st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=20, max_size=120),
    st.sampled_from([0.15, 0.1, 0.05]),
)
def test_a_mark_hides_at_most_its_share_of_the_code_and_the_code_still_scans(text, area):
    svg = render_qr_svg(text, mark=MARK, area=area)
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1]) - 8  # without the quiet zone
    plate = int(
        re.search(r'd="M\d+ \d+h(\d+)v', svg.rpartition("<image")[0].rpartition("<path")[2])[1]
    )
    assert area * 0.5 < plate**2 / size**2 <= area
    assert decoded(svg) == [text]


def test_nothing_in_a_mark_becomes_part_of_the_page():
    hostile = '<svg onload="alert(1)"><script>alert(2)</script></svg>'
    svg = render_qr_svg(CODE, mark=picture_address("mark", hostile))
    assert "onload" not in svg
    assert "script" not in svg
    assert 'href="data:image/svg+xml;base64,' in svg


def test_a_data_address_of_a_mark_is_escaped():
    svg = render_qr_svg(CODE, mark='data:image/png;base64,AA"><script>')
    assert 'href="data:image/png;base64,AA&quot;&gt;&lt;script&gt;"' in svg


@pytest.mark.parametrize("picture", ["https://elsewhere.example/mark.png", "", None, b"<svg/>"])
def test_a_picture_that_is_none_is_refused(picture):
    with pytest.raises(InvalidValue, match=r"mark: found .*expected SVG markup"):
        picture_address("mark", picture)


def test_a_picture_that_would_make_the_page_slow_is_refused():
    with pytest.raises(InvalidValue, match="at most 12000"):
        picture_address("mark", "<svg>" + "x" * 12_000)


@pytest.mark.parametrize("text", ["x" * 3000, "\ud800"])
def test_a_text_that_no_qr_code_holds_is_our_own_error(text):
    with pytest.raises(InvalidValue, match=f"found {len(text)} characters"):
        render_qr_svg(text)


def test_an_empty_code_is_our_own_error():
    with pytest.raises(InvalidValue, match="found no text"):
        render_qr_svg("")


def test_a_missing_segno_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'aplus_adapters\[page\]'"):
        render_qr_svg(CODE)
