"use strict";
(() => {
  const { state, status, poll, now, expires } = document.querySelector("main").dataset;
  const find = (id) => document.getElementById(id);
  const opened = performance.now();
  // Only the server's clock counts. It was read after the request began, so that counting from there
  // ends the code a moment early, never late.
  let end = (performance.getEntriesByType("navigation")[0]?.requestStart || 0) + (expires - now);
  let ticking = 0;
  let timer = 0;
  let asking = false;
  let failures = 0;

  const say = (id) => {
    const element = find(id);
    if (element) element.textContent = element.dataset.late;
  };
  const drop = () => {
    clearInterval(ticking);
    find("code").remove();
    find("busy").hidden = false;
    say("headline");
    say("more");
    document.title = find("headline").textContent;
    later(500);
  };
  const tick = () => {
    const left = find("left");
    if (!left) return;
    const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    const text = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
    if (left.textContent !== text) left.textContent = text;
    if (seconds === 0) drop();
  };

  const later = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(ask, milliseconds);
  };
  // Slower by one step every five minutes, and by doubling while the shop does not answer.
  const pause = () => {
    const step = 1 + Math.floor((performance.now() - opened) / 300000);
    return Math.min(10000, poll * step * 2 ** Math.min(failures, 8));
  };
  const ask = async () => {
    if (document.hidden || asking) return;
    asking = true;
    const stop = new AbortController();
    const limit = setTimeout(() => stop.abort(), 10000);
    try {
      const began = performance.now();
      const answer = await fetch(status, {
        headers: { Accept: "application/json" }, cache: "no-store", signal: stop.signal,
      });
      if (!answer.ok) throw new Error(answer.status);
      const found = await answer.json();
      failures = 0;
      if (found.state && found.state !== state) return reload();
      // A computer that slept may have stopped counting.
      const left = Date.parse(found.expiresAt) - Date.parse(found.serverTime);
      if (left === left) end = began + left;
    } catch {
      failures += 1;
    } finally {
      clearTimeout(limit);
      asking = false;
    }
    later(pause());
  };

  // A payment changes its state a few times. More reloads mean that page and status disagree, say by
  // a cache in between: the pause before the next one grows.
  const reloads = history.state?.reloads || 0;
  const reload = () => {
    history.replaceState({ reloads: reloads + 1 }, "");
    location.reload();
  };
  const wake = () => {
    tick();
    if (!document.hidden) later(0);
  };
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  ticking = setInterval(tick, 250);
  tick();
  later(Math.min(60000, poll * 2 ** Math.max(0, reloads - 4)));
})();
