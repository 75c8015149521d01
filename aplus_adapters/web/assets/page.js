"use strict";
(() => {
  const page = document.querySelector("main");
  const shown = page.dataset.state;
  const left = document.getElementById("left");
  const code = document.getElementById("code");
  // Counted from what the server said when it made the page: the buyer's clock does not matter.
  const end = performance.now() + page.dataset.seconds * 1000;
  const started = performance.now();
  let timer = 0;
  let failures = 0;

  const tick = () => {
    const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    left.textContent = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
    if (seconds === 0) {
      code.remove();
      clearInterval(ticking);
      later(500);
    }
  };
  const ticking = left && code ? setInterval(tick, 250) : 0;

  const later = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(ask, milliseconds);
  };
  const pause = () => {
    const minutes = (performance.now() - started) / 60000;
    return Math.min(10000, 2000 * (1 + Math.floor(minutes / 5)) * 2 ** Math.min(failures, 3));
  };
  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(page.dataset.status, {
        headers: { Accept: "application/json" }, cache: "no-store",
      });
      if (!answer.ok) throw new Error(answer.status);
      const found = await answer.json();
      failures = 0;
      if (found.state !== shown) return location.reload();
    } catch {
      failures += 1;
    }
    later(pause());
  };
  document.addEventListener("visibilitychange", () => document.hidden || later(0));
  later(2000);
})();
