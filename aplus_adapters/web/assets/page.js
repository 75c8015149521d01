"use strict";
(() => {
  const data = document.querySelector("main").dataset;
  const { state, status, poll, now, expires } = data;
  const find = (id) => document.getElementById(id);
  const framed = self !== top;
  if (framed) parent.postMessage({ aplus: state }, "*"); // only sites that may frame it hear it
  if (data.again) setTimeout(() => location.reload(), data.again * 1000);
  // In a frame the shop's own page would open inside of it: there only the link leads back.
  const leaving = data.return && !framed && setTimeout(() => location.replace(data.return), data.after * 1000);
  const print = find("print");
  if (print) {
    print.hidden = false;
    print.onclick = () => {
      clearTimeout(leaving);
      window.print();
    };
  }
  if (!status) return;
  const opened = performance.now();
  // Only the server's clock counts. It was read after the request began, so that counting from there
  // ends the code a moment early, never late.
  let end = (performance.getEntriesByType("navigation")[0]?.requestStart || 0) + (expires - now);
  let ticking = 0;
  let timer = 0;
  let asking = false;
  let source = null;
  let deaf = 0;
  let failures = 0;
  let unanswered = 0;

  // A phone keeps pictures, not drawings: the code is saved as a PNG of the same.
  const save = find("save");
  if (save) save.onclick = (event) => {
    event.preventDefault();
    const side = 1024;
    const picture = new Image(side, side);
    const drawing = document.querySelector(".qr").cloneNode(true);
    drawing.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    drawing.setAttribute("width", side);
    drawing.setAttribute("height", side);
    picture.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
      canvas.getContext("2d").drawImage(picture, 0, 0, side, side);
      const link = document.createElement("a");
      link.download = save.download.replace(/svg$/, "png");
      link.href = canvas.toDataURL();
      link.click();
    };
    picture.src = "data:image/svg+xml," + encodeURIComponent(drawing.outerHTML);
  };

  const hideSilence = (hidden) => {
    const silent = find("silent");
    if (silent && silent.hidden !== hidden) silent.hidden = hidden;
  };
  const say = (id) => {
    const element = find(id);
    if (element) element.textContent = element.dataset.late;
  };
  const drop = () => {
    clearInterval(ticking);
    find("code")?.remove();
    find("busy")?.removeAttribute("hidden");
    say("headline");
    say("more");
    document.title = find("headline")?.textContent || document.title;
    later(500);
  };
  const tick = () => {
    if (unanswered && performance.now() - unanswered > 4000) hideSilence(false);
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
    // At most 5 s: with 4 s without an answer, a shop that is gone is told within 10 s.
    return Math.min(5000, poll * step * 2 ** Math.min(failures, 8));
  };
  // Gives true if the page is about to be loaded again.
  const hear = (found, began) => {
    if (found.state && found.state !== state) {
      reload();
      return true;
    }
    // A computer that slept may have stopped counting.
    const left = Date.parse(found.expiresAt) - Date.parse(found.serverTime);
    if (left === left) end = began + left;
    return false;
  };
  const listen = () => {
    // The stream has ended, is broken, or is kept back on the way: what cannot be heard is asked for.
    const lost = () => {
      deaf += 1;
      hush();
      later(pause());
    };
    source = new EventSource(data.events);
    source.onerror = lost;
    source.onmessage = (event) => {
      clearTimeout(timer);
      deaf = 0;
      timer = setTimeout(lost, 12000); // the shop ends each stream sooner than that
      hear(JSON.parse(event.data), performance.now());
    };
    timer = setTimeout(lost, 4000);
  };
  const hush = () => {
    source?.close();
    source = null;
  };
  const ask = async () => {
    if (document.hidden || asking || source) return;
    asking = true;
    unanswered ||= performance.now();
    const stop = new AbortController();
    const limit = setTimeout(() => stop.abort(), 10000);
    try {
      const began = performance.now();
      const answer = await fetch(status, {
        headers: { Accept: "application/json" }, cache: "no-store", signal: stop.signal,
      });
      if (answer.status === 401) return reload(); // the page itself leads to the shop's log-in
      if (!answer.ok) throw new Error(answer.status);
      failures = unanswered = 0;
      hideSilence(true);
      if (hear(await answer.json(), began)) return;
      if (data.events && deaf < 3) return listen();
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
    if (document.hidden) unanswered = 0; // what is not asked is not unanswered
    tick();
    if (document.hidden) hush();
    else later(0);
  };
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  ticking = setInterval(tick, 250);
  tick();
  later(Math.min(60000, poll * 2 ** Math.max(0, reloads - 4)));
})();
