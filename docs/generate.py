"""Write what the documents take from the code: `python docs/generate.py`; a test holds it.

The state diagram comes from the state table, the result codes from their table, the list before
going live from the doctor, llms.txt from the pages of index.md.
"""

import re
from pathlib import Path
from xml.sax.saxutils import escape

from aplus_adapters.cli.doctor.live import BY_HAND
from aplus_adapters.payments.model import State
from aplus_adapters.payments.states import TABLE
from aplus_adapters.protocol.results import CODES

DOCS = Path(__file__).parent
PLACES = {
    State.CREATED: (90, 230),
    State.PENDING: (370, 110),
    State.CLOSING: (370, 370),
    State.SUCCEEDED: (770, 60),
    State.FAILED: (770, 230),
    State.CANCELLED: (770, 410),
}
WIDTH, HEIGHT = 124, 40
# Where on an arrow its words stand (0 is its begin): beside others', never upon them.
WORDS_AT = {
    (State.CREATED, State.SUCCEEDED): 0.68,
    (State.CREATED, State.FAILED): 0.28,
    (State.CREATED, State.CANCELLED): 0.75,
    (State.PENDING, State.SUCCEEDED): 0.3,
    (State.PENDING, State.FAILED): 0.65,
    (State.PENDING, State.CANCELLED): 0.18,
    (State.PENDING, State.CLOSING): 0.68,
    (State.CLOSING, State.PENDING): 0.75,
    (State.CLOSING, State.FAILED): 0.42,
    (State.CLOSING, State.CANCELLED): 0.3,
}


def arrows():
    """Return what leads from one state to another: {(before, after): [outcomes]}."""
    found = {}
    for (before, outcome), after in TABLE.items():
        if isinstance(after, State) and after is not before:
            found.setdefault((before, after), []).append(str(outcome))
    return found


def state_diagram():
    """Return the state table as an SVG picture."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 460" font-family="sans-serif" '
        'font-size="12" role="img" aria-labelledby="states-title">',
        '<title id="states-title">The states of a payment attempt and what leads to them</title>',
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>',
        '<rect width="860" height="460" fill="#fff"/>',
    ]
    words = []
    for (before, after), outcomes in arrows().items():
        (x1, y1), (x2, y2) = edge(before, after), edge(after, before)
        shift = 0
        if (after, before) in arrows():  # two arrows between the same states stand side by side
            shift = 26 if before is State.PENDING else -26
        x1, x2 = x1 + shift, x2 + shift
        parts.append(
            f'<path d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}" stroke="#456" marker-end="url(#to)"/>'
        )
        at = WORDS_AT.get((before, after), 0.5)
        words += label(x1 + (x2 - x1) * at, y1 + (y2 - y1) * at, outcomes)
    for state, (x, y) in PLACES.items():
        fill = "#dff0e2" if state is State.SUCCEEDED else "#f3e3e3" if state.is_final else "#e4ecf8"
        parts.append(
            f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" '
            f'height="{HEIGHT}" rx="8" fill="{fill}" stroke="#345"/>'
            f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-weight="bold">{state.name}</text>'
        )
    return "\n".join([*parts, *words, "</svg>", ""])


def edge(inside, towards):
    """Return the point on the border of a state's box that looks to another state."""
    (x, y), (to_x, to_y) = PLACES[inside], PLACES[towards]
    right, down = to_x - x, to_y - y
    part = min(WIDTH / 2 / abs(right) if right else 9, HEIGHT / 2 / abs(down) if down else 9)
    return x + right * part, y + down * part


def label(x, y, outcomes):
    top = y + 4 - 7 * (len(outcomes) - 1)
    for number, outcome in enumerate(outcomes):
        yield (
            f'<text x="{x:.0f}" y="{top + 14 * number:.0f}" text-anchor="middle" stroke="#fff" '
            f'stroke-width="4" paint-order="stroke">{escape(outcome)}</text>'
        )


def state_table():
    """Return the whole state table as Markdown."""
    lines = ["| it is said | " + " | ".join(state.name for state in PLACES) + " |"]
    lines.append("|---" * (len(PLACES) + 1) + "|")
    for outcome in dict.fromkeys(outcome for _, outcome in TABLE):
        cells = (TABLE[state, outcome] for state in PLACES)
        words = (str(cell) for cell in cells)
        lines.append(f"| {outcome} | " + " | ".join(words) + " |")
    return "\n".join(lines)


def result_codes():
    lines = [
        "| code | status | meaning | what to do | tell | a buyer's `reason` |",
        "|---" * 6 + "|",
    ]
    lines += [
        f"| `{row.code}` | {row.status} | {row.meaning} | {row.action}: {row.advice} "
        f"| {row.audience} | {row.reason or ''} |"
        for row in sorted(CODES.values(), key=lambda row: row.code)
    ]
    return "\n".join(lines)


def going_live():
    return "\n".join(f"- [ ] {item}" for item in BY_HAND)


def llms():
    """Return an index of the pages for programs that read text, after llmstxt.org."""
    lines = ["# aplus_adapters", "", "> " + intro(DOCS / "index.md").replace("\n", " ")]
    index = (DOCS / "index.md").read_text()
    for caption, pages in re.findall(
        r":caption: ([^\n]+)\n:maxdepth: 1\n\n(.*?)```", index, re.DOTALL
    ):
        lines += ["", f"## {caption}", ""]
        for page in pages.split():
            path = DOCS / f"{page}.md"
            title = re.match(r"# (.+)", path.read_text())[1]
            lines.append(f"- [{title}]({page}.html)")
    return "\n".join(lines) + "\n"


def intro(path):
    return path.read_text().split("\n\n")[1]


def filled(page, name, text):
    """Return a page with what stands between its two marks replaced."""
    begin, end = f"<!-- {name}: written by generate.py -->\n", f"<!-- end of {name} -->"
    head, found, rest = (DOCS / page).read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"docs/{page}: found no two marks of {name}")
    return f"{head}{begin}\n{text}\n\n{end}{tail}"


def files():
    """Return what is written: {path below docs: text}."""
    return {
        "images/states.svg": state_diagram(),
        "life.md": filled("life.md", "states", state_table()),
        "result-codes.md": filled("result-codes.md", "codes", result_codes()),
        "going-live.md": filled("going-live.md", "list", going_live()),
        "llms.txt": llms(),
    }


if __name__ == "__main__":
    for name, text in files().items():
        (DOCS / name).write_text(text)
