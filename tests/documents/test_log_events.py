"""The table of docs/logging.md lists every line of the log: its event, level and fields."""

import ast
import re

from support.snippets import ROOT

PACKAGE = ROOT / "aplus_adapters"
WRITE = {
    f"log.{name}" for name in ("debug", "info", "warning", "error", "exception", "critical", "log")
}
OUTSIDE = ("simulator", "conformance", "testing")
# What `**` adds to a line's fields.
HELPERS = {
    "ids": {"payment_request_id"},
    "subject": {"payment_request_id", "order_ref"},
    "self.log_ids": {"payment_request_id", "order_ref"},
    "holder.log_ids": {"payment_request_id", "order_ref"},
    "_ids(read, request_id)": {"payment_request_id", "tracerid"},
    "_trace(answer)": {"tracerid"},
}


def fields_of(extra):
    fields = set()
    for key, value in zip(extra.keys, extra.values, strict=True):
        fields |= {key.value} if key else HELPERS[ast.unparse(value)]
    return fields - {"event"}


def logged():
    """Return every line of the log in the code: [(event, level, fields)]."""
    lines = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in OUTSIDE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) in WRITE):
                continue
            extra = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
            assert extra, f"{path.name}:{node.lineno}: a line of the log without an event"
            at = [key and key.value for key in extra[0].keys].index("event")
            level = node.func.attr.upper().replace("EXCEPTION", "ERROR")
            lines.append((extra[0].values[at].value, level, frozenset(fields_of(extra[0]))))
    return lines


def documented():
    text = (ROOT / "docs" / "logging.md").read_text().partition("## Events")[2]
    rows = re.findall(r"^\| (`.+?) \| (\w+) \| (.*?) ?\| .+\|$", text, re.MULTILINE)
    return sorted(
        (event, level, frozenset(re.findall(r"`(\w+)`", fields)))
        for events, level, fields in rows
        for event in re.findall(r"`(\w+)`", events)
    )


def test_every_line_of_the_log_is_in_the_table_with_its_level_and_fields():
    lines = logged()
    assert sorted(lines) == documented()
    assert len({event for event, *_ in lines}) == len(lines) > 30


def test_no_line_hides_a_field_of_logging_itself():
    import logging

    own = set(vars(logging.makeLogRecord({})))
    assert not own & {field for _, _, fields in logged() for field in {*fields, "event"}}


def test_the_formatter_of_the_page_writes_the_events_fields(capfd):
    import json
    import logging

    from support.snippets import snippets_of

    logger = logging.getLogger("aplus_adapters")
    before = logger.handlers[:], logger.level
    (snippet,) = snippets_of(ROOT / "docs" / "logging.md")
    try:
        exec(compile(snippet.code, "logging.md", "exec"), {})
        logger.warning("see %s", 1, extra={"event": "conflict", "payment_request_id": "pay1"})
    finally:
        logger.handlers[:], logger.level = before[0], before[1]
        logger.setLevel(before[1])
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line) == {
        "level": "WARNING", "text": "see 1", "event": "conflict", "payment_request_id": "pay1",
    }  # fmt: skip
