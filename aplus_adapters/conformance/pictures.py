"""Pictures of the shop's pages, taken by a Chromium that is installed; none without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from attrs import define, field

__all__ = ["Camera"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_TIMEOUT = 30.0  # seconds for one picture, enough on a busy machine
_TRIES = 2  # Chromium fails now and then on a busy machine


@define
class Camera:
    """Takes pictures and keeps them with their names; `browser` is the command, None without.

    A picture that could not be taken is empty.
    """

    browser: str | None = field(
        factory=lambda: next(filter(None, map(shutil.which, _BROWSERS)), None)
    )
    pictures: list[tuple[str, bytes]] = field(factory=list)

    def take(self, name: str, url: str) -> None:
        """Take a picture of a page as a phone shows it."""
        if self.browser is None:
            return
        tries = (_taken(self.browser, url) for _ in range(_TRIES))
        self.pictures.append((name, next(filter(None, tries), b"")))


def _taken(browser: str, url: str) -> bytes:
    """Return a PNG of a page, empty if the browser could not take it."""
    with tempfile.TemporaryDirectory(prefix="aplus-picture-") as folder:
        path = Path(folder) / "page.png"
        command = [browser, "--headless", "--disable-gpu", "--hide-scrollbars"]
        command += ["--no-first-run", "--disable-background-networking"]
        command += [f"--user-data-dir={folder}/profile", f"--screenshot={path}"]
        command += ["--window-size=480,860"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium does not start for root with it
        try:
            subprocess.run(  # noqa: S603  # a browser, and a page of the shop
                [*command, url], capture_output=True, check=True, timeout=_TIMEOUT
            )
            return path.read_bytes()
        except (OSError, subprocess.SubprocessError):
            return b""
