"""The Python of README.md and docs/, as it stands there."""

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@frozen(kw_only=True)
class Snippet:
    """One block of a document; `line` is where its first line stands."""

    document: Path
    line: int
    code: str
    heading: str


def snippets_of(document):
    """Return the blocks of Python of a document, in order."""
    text = document.read_text()
    return [
        Snippet(
            document=document,
            line=text.count("\n", 0, match.start(1)) + 1,
            code=match[1],
            heading=re.findall(r"^#+ (.+)$", text[: match.start()], re.MULTILINE)[-1],
        )
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]
