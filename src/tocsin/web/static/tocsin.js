"use strict";
// Three comforts, none of them needed: fresh fragments, a hover card on charts, keys.
(() => {
  const SVG = "http://www.w3.org/2000/svg";

  // --- Fragments. The element with data-refresh asks its own address again every so many seconds.
  const lost = document.getElementById("lost");
  let failures = 0;

  const isBusy = (live) => {
    const active = document.activeElement;
    const typing = active && live.contains(active) && active.matches("input, select, textarea, .plotted");
    return typing || live.querySelector(".hover:not([hidden])") || String(getSelection() || "") !== "";
  };

  const swap = (fresh) => {
    const focused = document.activeElement;
    const address = focused && focused.getAttribute("href");
    for (const part of [...fresh.body.children]) {
      const old = part.id && document.getElementById(part.id);
      if (!old) continue;
      const open = [...old.querySelectorAll("details[open][id]")].map((d) => d.id);
      const within = old.contains(focused);
      old.replaceWith(part);
      open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
      if (within && address) part.querySelector(`[href="${CSS.escape(address)}"]`)?.focus({ preventScroll: true });
    }
    prepare();
  };

  const refresh = async () => {
    const live = document.getElementById("live");
    const every = Number(live?.dataset.refresh || 0);
    if (!every) return;
    if (!document.hidden && !isBusy(live)) {
      try {
        const answer = await fetch(location.href, { headers: { "Tocsin-Fragment": "1", Accept: "text/html" } });
        if (answer.redirected) { location.reload(); return; }
        if (!answer.ok) throw new Error(String(answer.status));
        swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
        failures = 0;
      } catch { failures += 1; }
      if (lost) lost.hidden = failures < 2;
    }
    setTimeout(refresh, 1000 * Number(document.getElementById("live")?.dataset.refresh || every));
  };

  // --- Hover card. Values travel in data- attributes; the arrow keys move along them.
  const numbers = (text) => (text ? text.split(",").map((v) => (v === "" ? null : Number(v))) : []);
  const UNITS = {
    s: (v) => (v < 1 ? `${(v * 1000).toFixed(0)} ms` : v < 60 ? `${v.toFixed(2)} s` : `${(v / 60).toFixed(1)} min`),
    ratio: (v) => `${(v * 100).toPrecision(3)} %`,
    usd: (v) => `$${v < 1 ? v.toPrecision(2) : v.toFixed(2)}`,
    per_min: (v) => `${Number(v.toPrecision(4)).toLocaleString("en")}/min`,
  };
  const say = (value, unit) =>
    value === null || value === undefined ? "no data" : (UNITS[unit] || ((v) => Number(v.toPrecision(4)).toLocaleString("en")))(value);

  const line = (card, tag, text) => {
    const element = card.appendChild(document.createElement(tag));
    element.textContent = text;
  };

  const enhance = (figure) => {
    const hit = figure.querySelector(".hit");
    const data = figure.dataset;
    const values = numbers(data.values);
    if (!hit || !values.length) return;
    const low = numbers(data.low), high = numbers(data.high);
    const card = figure.appendChild(document.createElement("div"));
    card.className = "hover";
    card.hidden = true;
    card.setAttribute("role", "status");
    figure.tabIndex = 0;
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label", `${data.name}: arrow keys read the values`);
    const cursor = figure.querySelector(".cursor");
    let index = values.length - 1;

    const hide = () => { card.hidden = true; cursor.replaceChildren(); };
    const show = (at) => {
      index = Math.max(0, Math.min(values.length - 1, at));
      const when = new Date((Number(data.start) + index * Number(data.step)) * 1000).toISOString();
      card.replaceChildren();
      line(card, "span", `${when.slice(5, 10)} ${when.slice(11, 16)} UTC`);
      line(card, "b", `${data.name} ${say(values[index], data.unit)}`);
      for (let n = 0; data[`extra${n}`] !== undefined; n += 1)
        line(card, "div", `${data[`extra${n}Name`]} ${say(numbers(data[`extra${n}`])[index], data.unit)}`);
      if (low[index] !== null && low[index] !== undefined)
        line(card, "div", `expected ${say(low[index], data.unit)} to ${say(high[index], data.unit)}`);
      const x = values.length > 1 ? (index * 100) / (values.length - 1) : 0;
      const mark = document.createElementNS(SVG, "line");
      for (const [name, value] of [["x1", `${x}%`], ["x2", `${x}%`], ["y1", "0"], ["y2", "100%"]]) mark.setAttribute(name, value);
      cursor.replaceChildren(mark);
      card.hidden = false;
      const box = hit.getBoundingClientRect(), frame = figure.getBoundingClientRect();
      const left = box.left - frame.left + (x / 100) * box.width;
      const before = left + card.offsetWidth + 18 > frame.width;
      card.style.left = `${Math.max(0, before ? left - card.offsetWidth - 10 : left + 10)}px`;
      card.style.top = "14px";
    };

    figure.addEventListener("pointermove", (event) => {
      const box = hit.getBoundingClientRect();
      show(Math.round(((event.clientX - box.left) / box.width) * (values.length - 1)));
    });
    // Drawing a range asks the page's breakdown form about it, if there is one.
    let from = null;
    const at = (event) => {
      const box = hit.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
      return Number(data.start) + share * (values.length - 1) * Number(data.step);
    };
    figure.addEventListener("pointerdown", (event) => {
      from = document.querySelector("#breakdown form") && event.button === 0 ? at(event) : null;
    });
    figure.addEventListener("pointerup", (event) => {
      const to = from === null ? null : at(event);
      if (to !== null && Math.abs(to - from) >= 60) {
        const form = document.querySelector("#breakdown form");
        const text = (s) => new Date(s * 1000).toISOString().slice(0, 16);
        if (data.measure) form.elements.measure.value = data.measure;
        form.elements.from.value = text(Math.min(from, to));
        form.elements.to.value = text(Math.max(from, to) + 59);
        form.requestSubmit();
      }
      from = null;
    });
    figure.addEventListener("pointerleave", () => { from = null; });
    figure.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
    figure.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 : 1;
      const target = { ArrowLeft: index - step, ArrowRight: index + step, Home: 0, End: values.length - 1 }[event.key];
      if (event.key === "Escape") hide();
      if (target === undefined) return;
      event.preventDefault();
      show(card.hidden ? index : target);
    });
  };

  const prepare = () => document.querySelectorAll(".plotted:not([tabindex])").forEach(enhance);

  // --- Keys: / to the search field, g then a letter to a page (the letters are in data-key), and
  // what a page itself offers by one key (data-press).
  let pending = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (pending) {
      document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
      pending = false;
    } else {
      pending = event.key === "g";
      if (!pending) document.querySelector(`[data-press="${CSS.escape(event.key)}"]`)?.click();
    }
  });

  prepare();
  const first = Number(document.getElementById("live")?.dataset.refresh || 0);
  if (first) setTimeout(refresh, first * 1000);
})();
