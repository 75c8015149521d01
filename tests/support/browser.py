"""Chromium, an eye for the QR codes that it shows, and pictures of what it showed."""

import base64
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import zxingcpp
from playwright.sync_api import Error, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Chromium decodes its own screenshot: one grey byte per pixel, no imaging library needed.
TO_GREY = """async (png) => {
  const picture = await createImageBitmap(await (await fetch("data:image/png;base64," + png)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  canvas.drawImage(picture, 0, 0);
  const colours = canvas.getImageData(0, 0, picture.width, picture.height).data;
  let grey = "";
  for (let i = 0; i < colours.length; i += 4)
    grey += String.fromCharCode((colours[i] + 2 * colours[i + 1] + colours[i + 2]) >> 2);
  return [picture.width, picture.height, btoa(grey)];
}"""


@contextmanager
def launch():
    """Give a browser until the end of the block."""
    path = shutil.which("chromium") or "/usr/bin/chromium"  # absent: every test here is an error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def read_codes(eye, page, shades=bytes(range(256))):
    """Read every QR code that can be seen on a page, wherever it is; `eye` is another page."""
    png = base64.b64encode(take_picture(page, full_page=True)).decode()
    width, height, grey = eye.evaluate(TO_GREY, png)
    pixels = memoryview(base64.b64decode(grey).translate(shades)).cast("B", (height, width))
    return [found.text for found in zxingcpp.read_barcodes(pixels)]


def keep(page, *names, whole=False):
    """Keep a picture of a page where APLUS_SCREENSHOTS says, for people to look at."""
    if folder := os.environ.get("APLUS_SCREENSHOTS"):
        path = Path(folder) / ("-".join(map(str, names)).replace(" ", "-") + ".png")
        path.write_bytes(take_picture(page, full_page=whole))


def take_picture(page, *, full_page=False):
    """Return a PNG of a page. Chromium on a busy machine cannot take one, and can a moment later."""
    for _ in range(4):
        try:
            return page.screenshot(full_page=full_page)
        except Error as error:
            if "Unable to capture screenshot" not in str(error):
                raise
            page.wait_for_timeout(250)
    return page.screenshot(full_page=full_page)
