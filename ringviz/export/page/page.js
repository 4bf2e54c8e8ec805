"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const texts = data.texts, film = data.film, last = film.ring.length - 1;
  const byId = (id) => document.getElementById(id);
  const say = (id, text) => { byId(id).textContent = text; };
  const grouped = (value) => value.toLocaleString("en-US");

  // Columns that are written as differences become running totals.
  for (const name of ["events", "console", "guest", "overhead"]) {
    let total = 0;
    film[name] = film[name].map((by) => (total += by));
  }
  // The registers at every hundredth step, so that any step is a few changes away.
  const marks = [];
  let state = data.registers.map((row) => row.slice());
  for (let n = 0; n <= last; n++) {
    for (const [row, ...values] of film.changes[n]) { state[row] = [state[row][0], ...values]; }
    if (n % 100 === 0) { marks.push(state.map((row) => row.slice())); }
  }
  function registersAt(n) {
    const from = Math.floor(n / 100), rows = marks[from].map((row) => row.slice());
    for (let i = from * 100 + 1; i <= n; i++) {
      for (const [row, ...values] of film.changes[i]) { rows[row] = [rows[row][0], ...values]; }
    }
    return rows;
  }

  function fill(id, rows) {
    const table = byId(id);
    table.textContent = "";
    for (const [cells, mark] of rows) {
      const line = table.insertRow();
      if (mark) { line.className = mark; }
      for (const cell of cells) {
        const place = line.insertCell();
        const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
        place.textContent = text;
        if (kind) { place.className = kind; }
      }
    }
  }

  function drawRings(real) {
    const sizes = data.seats.length, step = 150 / sizes;
    let svg = '<svg viewBox="0 0 320 320" width="100%" height="320" aria-hidden="true">';
    data.seats.slice().reverse().forEach((seat, i) => {
      svg += `<circle cx="160" cy="160" r="${150 - i * step}"${seat[0] === real ? ' class="lit"' : ""}/>`;
    });
    svg += "</svg>";
    byId("rings").innerHTML = svg;
    const drawing = byId("rings").firstChild;
    data.seats.forEach((seat, i) => {
      const name = document.createElementNS("http://www.w3.org/2000/svg", "text");
      name.setAttribute("x", "160");
      name.setAttribute("y", String(i === 0 ? 165 : 160 + i * step + step / 2 + 5));
      name.textContent = `${seat[0] < 0 ? "−1" : seat[0]}${seat[1] ? ": " + seat[1] : ""}${seat[0] === real ? " ◀ CPU" : ""}`;
      drawing.appendChild(name);
    });
  }

  function showCode(n) {
    const here = film.address[n], rows = [];
    for (let i = Math.max(0, here - 7); i <= Math.min(data.code.length - 1, here + 9); i++) {
      const [address, text, verdict, label, source] = data.code[i];
      rows.push([[i === here ? "▶" : "", address, texts[text], [texts[verdict], verdict === data.silent ? "silent" : ""],
        [texts[source] || texts[label], "wrap"]], i === here ? "now" : ""]);
    }
    fill("code", rows);
    const label = texts[data.code[here][3]];
    say("next", film.end[n] ? "The run is over." : `Next: ${texts[film.text[n]]}${label ? " (" + label + ")" : ""}`);
  }

  function showEvents(n) {
    const count = film.events[n], rows = [];
    for (let i = Math.max(0, count - 10); i < count; i++) {
      const [at, text, kind, cause, action, cycles] = data.events[i];
      rows.push([[[String(i + 1), "n"], [grouped(at), "n"], texts[kind], texts[text], texts[cause], [texts[action], "wrap"],
        [cycles === null ? "" : grouped(cycles), "n"]], i === count - 1 ? "now" : ""]);
    }
    say("count", count ? `${grouped(count)} so far; the last ten:` : "None so far.");
    fill("events", rows);
  }

  function showBill(n) {
    const counts = new Map();
    for (let i = 0; i < film.events[n]; i++) {
      for (const cause of data.events[i][6]) { counts.set(cause, (counts.get(cause) || 0) + 1); }
    }
    const rows = [...counts].map(([cause, count]) => [texts[data.causes[cause][0]], count, count * data.causes[cause][1]]);
    const total = film.guest[n] + film.overhead[n], known = rows.reduce((sum, row) => sum + row[2], 0);
    if (total > known) { rows.push(["instructions that the CPU ran by itself, and what comes without an event", null, total - known]); }
    rows.sort((a, b) => b[2] - a[2]);
    fill("bill", [[["cause", ["count", "n"], ["cycles", "n"]], ""],
      ...rows.map((row) => [[[row[0], "wrap"], [row[1] === null ? "" : grouped(row[1]), "n"], [grouped(row[2]), "n"]], ""]),
      [["all", "", [grouped(total), "n"]], ""]]);
    const share = total ? 100 * film.overhead[n] / total : 0;
    byId("bar").innerHTML = `<span class="guest" style="width:${100 - share}%"></span><span class="vmm" style="width:${share}%"></span>`;
    byId("bar").setAttribute("aria-label", `The guest's own work ${(100 - share).toFixed(1)} %, overhead ${share.toFixed(1)} %`);
  }

  function drawCurve() {
    // Two lines over the steps: all cycles, and below it the guest's own.
    const width = 400, height = 80, most = Math.max(1, film.guest[last] + film.overhead[last]), points = 200;
    const line = (value) => Array.from({ length: points + 1 }, (_, i) => {
      const n = Math.round(i * last / points);
      return `${(i * width / points).toFixed(1)},${(height - height * value(n) / most).toFixed(1)}`;
    }).join(" ");
    byId("curve").innerHTML = `<svg viewBox="0 -4 ${width} ${height + 8}" width="100%" role="img">` +
      `<title>Cycles over steps: all, and the guest's own</title>` +
      `<polyline class="all" points="${line((n) => film.guest[n] + film.overhead[n])}"/>` +
      `<polyline class="own" points="${line((n) => film.guest[n])}"/><line id="at" y1="-4" y2="${height + 4}"/></svg>`;
  }
  function markCurve(n) {
    const x = String(last ? 400 * n / last : 0);
    byId("at").setAttribute("x1", x);
    byId("at").setAttribute("x2", x);
  }

  let here = 0;
  function show(n) {
    here = Math.max(0, Math.min(last, n));
    byId("slider").value = byId("number").value = here;
    const card = data.cards[film.card[here]], chain = byId("chain");
    chain.textContent = "";
    card[0].forEach(([text, role], i) => {
      if (i) { chain.append(" → "); }
      const part = document.createElement(i ? "span" : "b");
      part.textContent = texts[text];
      part.className = texts[role];
      chain.append(part);
    });
    say("why", texts[card[1]]);
    say("price", card[2] === null ? "" : `${grouped(card[2])} cycles, ${texts[card[3]]}`);
    const real = film.ring[here], believed = film.believed[here];
    drawRings(real);
    say("where", real === believed ? `The CPU is in ring ${real}, where the guest believes to be.`
      : `The CPU is in ring ${real}; the guest believes to be in ring ${believed}.`);
    const changed = new Set(film.changes[here].map((row) => row[0]));
    fill("cpu", [[["", "guest", "CPU", "", ""], ""], ...registersAt(here).map(([name, guest, cpu, differs, note], row) =>
      [[texts[name], texts[guest], texts[cpu], `${differs ? "≠" : ""}${here && changed.has(row) ? "*" : ""}`, [texts[note], "wrap"]],
        differs ? "differs" : ""])]);
    showCode(here);
    showEvents(here);
    showBill(here);
    markCurve(here);
    say("console", data.console.slice(0, film.console[here]));
    byId("console").scrollTop = 1e9;
    say("of", `of ${grouped(last)}${data.more ? ", the part on this page" : ", the end of the run"}`);
  }
  function toEvent(direction) {
    let n = here + direction;
    while (n > 0 && n < last && film.events[n] === film.events[n - 1]) { n += direction; }
    show(n);
  }

  const moves = { first: () => show(0), back: () => show(here - 1), step: () => show(here + 1), last: () => show(last),
    nextevent: () => toEvent(1), prevevent: () => toEvent(-1) };
  for (const [id, move] of Object.entries(moves)) { byId(id).addEventListener("click", move); }
  const keys = { ArrowRight: "step", " ": "step", ArrowLeft: "back", b: "back", n: "nextevent", p: "prevevent", Home: "first", End: "last" };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.id === "number" || event.target.id === "slider";
    const isPressing = event.key === " " && ["BUTTON", "SUMMARY"].includes(event.target.tagName);
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping || isPressing || !keys[event.key]) { return; }
    event.preventDefault();
    moves[keys[event.key]]();
  });
  byId("slider").max = byId("number").max = last;
  byId("slider").addEventListener("input", () => show(Number(byId("slider").value)));
  byId("number").addEventListener("change", () => show(Number(byId("number").value) || 0));
  const start = Number((location.hash.match(/^#step=(\d+)$/) || [0, 0])[1]);
  drawCurve();
  show(start);
  document.documentElement.dataset.ready = "yes";
})();
