// Loads the page again every second and puts in what has changed. Without a script the browser
// loads the whole page again, as the page's <noscript> says.
"use strict";
const PAUSE = 1000;
async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const place of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(place.id);
        const busy = place.contains(document.activeElement) && document.activeElement !== document.body;
        if (other && !busy && other.innerHTML !== place.innerHTML) place.innerHTML = other.innerHTML;
      }
      document.documentElement.dataset.connection = "good";
    } catch {
      document.documentElement.dataset.connection = "lost"; // it is tried again
    }
  }
  setTimeout(refresh, PAUSE);
}
if (document.querySelector("[data-live]")) setTimeout(refresh, PAUSE);
