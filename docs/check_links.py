"""Follow every link of the built site: `python docs/check_links.py FOLDER`.

Links within the site have to lead to a file, and to an anchor in it. Addresses elsewhere are
checked by their form alone, since a build needs no internet.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

EXAMPLE_HOSTS = re.compile(r"(^|\.)(localhost|example|127\.0\.0\.1)(:\d+)?$|\.example\.com$")


class Page(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        """Note what one tag links to, and its anchor."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken(folder):
    """Return the broken links of a site, and how many there are of each kind."""
    pages = {path.resolve(): Page(path.read_text()) for path in folder.rglob("*.html")}
    counts, wrong = {"pages": len(pages), "within": 0, "elsewhere": 0}, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                counts["elsewhere"] += 1
                fine = parts.scheme in ("data", "mailto") or bool(
                    (parts.scheme == "https" and "." in parts.netloc)
                    or EXAMPLE_HOSTS.search(parts.netloc)
                )
            else:
                counts["within"] += 1
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                fine = target.exists()
                if fine and parts.fragment and target in pages:
                    fine = unquote(parts.fragment) in pages[target].anchors
            if not fine:
                wrong.append(f"{path.relative_to(folder.resolve())}: {link}")
    return wrong, counts


if __name__ == "__main__":
    wrong_links, found = broken(Path(sys.argv[1]))
    print("; ".join(f"{number} {kind}" for kind, number in found.items()), "links")  # noqa: T201
    for line in wrong_links:
        print("broken:", line)  # noqa: T201
    sys.exit(bool(wrong_links) or not found["within"])
