"""What a package index shows: README.md, with links that lead to this version's repository."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

REPOSITORY = "aplus-adapters/aplus_adapters"


class Readme(MetadataHookInterface):
    """Set the field `readme`; pyproject.toml names this file."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Replace each relative link and picture of README.md by its whole address."""
        root = Path(self.root)
        source = (root / "aplus_adapters" / "__init__.py").read_text()
        version = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)[0]

        def whole(match: re.Match[str]) -> str:
            mark, words, path = match.groups()
            if mark:
                return (
                    f"![{words}](https://raw.githubusercontent.com/{REPOSITORY}/v{version}/{path})"
                )
            return f"[{words}](https://github.com/{REPOSITORY}/blob/v{version}/{path})"

        text = (root / "README.md").read_text()
        text = re.sub(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)]+)\)", whole, text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
