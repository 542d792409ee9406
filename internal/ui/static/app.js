// What the pages do beyond links and forms. Every page works without it, but for the live one.
"use strict";
(() => {
  const each = (root, selector, f) => { if (root.matches?.(selector)) f(root); root.querySelectorAll(selector).forEach(f); };

  // Times in the reader's zone; UTC stays on hover.
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const span = (ms) => {
    const s = Math.floor(Math.abs(ms) / 1000);
    return s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min" : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " d";
  };
  const tell = (t) => {
    const at = new Date(t.dateTime), off = Date.now() - at;
    const text = t.classList.contains("ago") ? (off < 0 ? "in " + span(off) : span(off) + " ago") : clock.format(at);
    if (t.textContent !== text) t.textContent = text;
  };
  setInterval(() => document.querySelectorAll("time.ago").forEach(tell), 1000);

  // Plots, drawn from the page's own data in the colours of its style.
  const color = (name) => getComputedStyle(document.querySelector(".key." + name) ?? document.body).color;
  const hours = new Intl.DateTimeFormat(undefined, { timeStyle: "short" }), days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const plots = new Map();
  const draw = (el) => {
    if (!window.uPlot) return;
    const d = JSON.parse(el.dataset.series), ink = getComputedStyle(document.body).color, line = getComputedStyle(document.querySelector(".foot")).borderTopColor;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    const counts = el.dataset.plot === "counts";
    let data, series;
    if (counts) { // stacked: the highest is drawn first
      const sum = (...lists) => d.at.map((_, i) => lists.reduce((n, l) => n + l[i], 0));
      data = [d.at, sum(d.delivered, d.retried, d.exhausted), sum(d.retried, d.exhausted), d.exhausted];
      const bars = uPlot.paths.bars({ size: [0.85, 40], align: 1 });
      series = ["good", "wait", "bad"].map((c) => ({ paths: bars, fill: color(c), stroke: color(c), width: 0, points: { show: false } }));
    } else {
      data = [d.at, d.p50, d.p95];
      series = ["p50", "p95"].map((c) => ({ stroke: color(c), width: 1.5, spanGaps: false, points: { show: true, size: 4, fill: color(c) } }));
    }
    const ms = (v) => v >= 60000 ? v / 60000 + " min" : v >= 1000 ? v / 1000 + " s" : v + " ms";
    const options = {
      width: el.clientWidth, height: el.clientHeight, cursor: { show: false }, legend: { show: false },
      scales: { x: { range: (u, min, max) => [min, max + (d.step || 60)] }, y: { range: (u, min, max) => [0, Math.max(max || 0, counts ? 4 : 10)] } },
      axes: [{ ...axis, values: (u, v) => v.map((x) => (d.step < 3600 ? hours : days).format(x * 1000)) }, { ...axis, size: 60, space: 26, values: (u, v) => v.map((x) => counts ? (Number.isInteger(x) ? x : "") : ms(x)) }],
      series: [{}, ...series],
    };
    plots.get(el)?.destroy();
    el.replaceChildren();
    plots.set(el, new uPlot(options, data, el));
    el.drawn = el.dataset.series;
  };
  const redraw = () => plots.forEach((p, el) => { if (el.isConnected) draw(el); else { p.destroy(); plots.delete(el); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 150); });

  // The server and the sign-in are asked for now and then, at once when a part of a page does not come, and before a form is
  // sent: what was typed stays in the page when there is nobody to take it.
  const state = document.getElementById("state");
  let heard = new Date(), left = 0, stale = false, out = false; // stale: a part of the page was refused
  addEventListener("beforeunload", () => { left = Date.now(); }); // what is under way is broken off then
  const there = async () => {
    if (!state) return true;
    let status = 0;
    try {
      status = (await fetch(state.dataset.check, { cache: "no-store", signal: AbortSignal.timeout(8000) })).status;
    } catch { /* no answer */ }
    if (status === 0 && Date.now() - left < 3000) return true;
    const wrong = status === 401 ? "out" : status === 0 || status >= 500 ? "away" : "", shown = wrong || (stale ? "stale" : "");
    const since = state.querySelector("span"), text = clock.format(wrong === "away" ? heard : heard = new Date());
    out = wrong === "out";
    if (since.textContent !== text) since.textContent = text;
    state.querySelectorAll("[data-state]").forEach((p) => { p.hidden = p.dataset.state !== shown; });
    state.hidden = shown === "";
    return wrong === "";
  };
  setInterval(() => document.hidden || out || there(), 10000);
  document.addEventListener("visibilitychange", () => document.hidden || there());
  addEventListener("focus", () => out && there());
  // Who is signed out asks for nothing: to the server each time would be a guess at a key.
  document.addEventListener("htmx:before:request", (e) => { if (out) e.preventDefault(); });
  const missed = (e) => {
    const step = e.target.closest?.("#progress");
    step?.querySelectorAll("[data-failed]").forEach((x) => { x.hidden = false; });
    stale = !step && e.detail?.ctx?.response?.status >= 400;
    there();
  };
  document.addEventListener("htmx:error", missed);
  document.addEventListener("htmx:response:error", missed);
  let asking = false, sure = false;
  document.addEventListener("submit", async (e) => {
    const form = e.target;
    if (form.dataset.plainSubmit !== undefined) e.stopImmediatePropagation(); // sent as any form; htmx has its parts only
    else if (form.dataset.hxPost !== undefined) return;
    if (form.getAttribute("method") !== "post" || sure) return; // a field may be called method
    e.preventDefault();
    if (asking) return;
    asking = true;
    if (await there()) {
      sure = true;
      form.requestSubmit(e.submitter);
      sure = false;
    }
    asking = false;
  }, true);

  // Copies a text. Outside secure contexts there is no navigator.clipboard: then what the page shows of it is selected and
  // copied as by hand. When that is not allowed either, it stays selected.
  const copied = async (text, shown) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* absent, or not allowed */ }
    let given = false;
    const give = (e) => { e.clipboardData.setData("text/plain", text); e.preventDefault(); given = true; };
    if (shown) getSelection().selectAllChildren(shown);
    document.addEventListener("copy", give);
    given = document.execCommand("copy") && given;
    document.removeEventListener("copy", give);
    if (given) getSelection().removeAllRanges();
    return given;
  };
  const copy = async (b) => {
    const near = [b.parentElement, b.parentElement.parentElement].flatMap((x) => [...x.querySelectorAll("code, pre")]);
    const done = await copied(b.dataset.copy, near.find((x) => x.textContent === b.dataset.copy));
    b.textContent = document.getElementById("said").textContent = done ? "Copied" : "Not copied. It is selected: press Ctrl+C or ⌘C";
    setTimeout(() => { b.textContent = "Copy"; }, done ? 1500 : 8000);
  };

  // What new content needs, and what a page has at first.
  const dress = (root) => {
    each(root, "time[datetime]", tell);
    each(root, "[data-plot]", (el) => { if (!el.querySelector(".uplot") || el.drawn !== el.dataset.series) draw(el); });
    each(root, ".copy[hidden]", (b) => { b.hidden = false; });
    each(root, "[data-tick-all][hidden]", (b) => { b.hidden = false; });
    each(root, "[data-needs-ticked]", ticked);
  };
  const ticked = () => document.querySelectorAll("[data-needs-ticked]").forEach((b) => { b.disabled = !b.form.querySelector("input[name=ids]:checked"); });

  document.addEventListener("click", (e) => {
    const b = e.target.closest("button");
    if (!b) return;
    if (b.dataset.copy !== undefined) copy(b);
    if (b.dataset.tickAll !== undefined) {
      const boxes = [...b.form.querySelectorAll("input[name=ids]")], on = !boxes.every((x) => x.checked);
      boxes.forEach((x) => { x.checked = on; });
      ticked();
    }
    if (b.dataset.confirm && !confirm(b.dataset.confirm)) e.preventDefault();
  });
  document.addEventListener("change", (e) => {
    if (e.target.name === "ids") ticked();
    const form = e.target.closest?.("form[data-autosubmit]");
    if (form && e.target.tagName === "SELECT") form.requestSubmit();
  });
  document.addEventListener("htmx:after:swap", (e) => { // also when nothing was swapped
    dress(document.body);
    if (stale && e.detail?.ctx?.response?.status < 400) {
      stale = false;
      there();
    }
  });
  // Filters leave out of the address what is empty.
  document.addEventListener("formdata", (e) => {
    if (e.target.method === "get") for (const [k, v] of [...e.formData]) if (v === "") e.formData.delete(k);
  });

  // Attempts as they happen.
  const live = (list) => {
    const state = document.getElementById("live-state"), pause = document.getElementById("live-pause"), clear = document.getElementById("live-clear");
    const most = 200, held = [];
    let paused = false;
    const say = (text, kind) => { state.textContent = text; state.className = "label " + kind; };
    const add = (html) => {
      list.insertAdjacentHTML("afterbegin", html);
      dress(list.firstElementChild);
      while (list.childElementCount > most) list.lastElementChild.remove();
      document.getElementById("live-empty").hidden = true;
    };
    const source = new EventSource(list.dataset.stream);
    source.onopen = () => say(paused ? "Paused" : "Connected", paused ? "wait" : "good");
    source.onerror = () => say("Connecting", "wait");
    source.onmessage = (e) => {
      if (!paused) return add(e.data);
      held.push(e.data);
      if (held.length > most) held.shift();
      say("Paused, " + held.length + " held", "wait");
    };
    pause.hidden = clear.hidden = false;
    pause.onclick = () => {
      paused = !paused;
      pause.textContent = paused ? "Go on" : "Pause";
      if (!paused) held.splice(0).forEach(add);
      say(paused ? "Paused" : "Connected", paused ? "wait" : "good");
    };
    clear.onclick = () => list.replaceChildren();
    addEventListener("pagehide", () => source.close());
  };

  const begin = () => { dress(document.body); each(document.body, "#live[data-stream]", live); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
})();
