/* Draws the timeline and lists the events. Reads the data that stands in the page, and nothing else. */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const end = Math.max(data.end, 1e-6);
  const clock = (s, digits = 3) => s.toFixed(digits) + " s";
  const span = (s) => (s >= 1 ? s.toFixed(2) + " s" : s >= 1e-3 ? (s * 1e3).toFixed(s >= 0.1 ? 0 : 1) + " ms" : (s * 1e6).toFixed(0) + " µs");

  /* ---- timeline ---- */
  const canvas = byId("lanes"), pen = canvas.getContext("2d"), tip = byId("tip");
  const GUTTER = 116, AXIS = 30, LANE = data.lanes.length > 12 ? 32 : 42, EDGE = 10;
  const height = AXIS + data.lanes.length * LANE + 8;
  const lanes = data.lanes.map(() => ({ frames: [], loads: [], requests: [], bands: [], marks: [] }));
  for (const part of ["frames", "loads", "requests", "bands", "marks"]) for (const row of data[part]) lanes[row[0]][part].push(row);
  for (const lane of lanes) lane.frames.sort((a, b) => a[1] - b[1]);
  const requestOf = (session) => data.sessions[session][1];
  const hueOfRequest = new Map();
  const hueOf = (key) => { if (!hueOfRequest.has(key)) hueOfRequest.set(key, hueOfRequest.size % 8); return "s" + hueOfRequest.get(key); };
  const keyOf = (session) => (requestOf(session) === null ? "session " + data.sessions[session][0] : "request " + requestOf(session));
  const hues = data.sessions.map((_, session) => hueOf(keyOf(session)));
  for (const request of data.requests) hueOf("request " + request[3]);

  let from = 0, to = end, width = 0, colour = {}, planned = false, dragged = null, pinned = null;
  const names = ["paper", "card", "ink", "soft", "line", "faint", "load", "fault", "off", "bad", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
  const readColours = () => { const style = getComputedStyle(root); for (const name of names) colour[name] = style.getPropertyValue("--" + name).trim(); };
  const x = (s) => GUTTER + ((s - from) / (to - from)) * (width - GUTTER - EDGE);
  const seconds = (px) => from + ((px - GUTTER) / (width - GUTTER - EDGE)) * (to - from);
  const top = (lane) => AXIS + lane * LANE;

  function step() {
    const raw = (to - from) / Math.max(2, (width - GUTTER) / 110), power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
  }
  function tickLabel(s, gap) { return gap >= 1 ? s.toFixed(0) + " s" : s.toFixed(Math.min(6, Math.ceil(-Math.log10(gap) - 1e-9))) + " s"; }

  function box(a, b, y, h, fill) { // clipped to the drawing area, at least a hair wide
    const left = Math.max(GUTTER, x(a)), right = Math.min(width - EDGE, x(b));
    if (right < GUTTER || left > width - EDGE || right < left) return null;
    if (fill) { pen.fillStyle = fill; pen.fillRect(left, y, Math.max(right - left, 0.8), h); }
    return [left, right];
  }
  function hatch(a, b, y, h, ink) {
    const at = box(a, b, y, h, null);
    if (!at) return;
    pen.save(); pen.beginPath(); pen.rect(at[0], y, at[1] - at[0], h); pen.clip();
    pen.strokeStyle = ink; pen.globalAlpha = 0.55; pen.lineWidth = 1.2; pen.beginPath();
    for (let left = at[0] - h; left < at[1]; left += 7) { pen.moveTo(left, y + h); pen.lineTo(left + h, y); }
    pen.stroke(); pen.restore();
  }
  function firstVisible(frames) { // the first that may end after `from`: they come by their begin
    let low = 0, high = frames.length;
    while (low < high) { const middle = (low + high) >> 1; if (frames[middle][1] < from) low = middle + 1; else high = middle; }
    return Math.max(0, low - 2);
  }
  function drawFrames(lane, y, h) {
    let last = -1, lastSession = -1;
    for (let place = firstVisible(lane.frames); place < lane.frames.length; place++) {
      const frame = lane.frames[place];
      if (frame[1] > to) break;
      const right = x(frame[2]);
      if (right < last + 0.5 && frame[3] === lastSession) continue; // falls into the pixel before
      const at = box(frame[1], frame[2], y, h, colour[hues[frame[3]]]);
      if (at && at[1] - at[0] > 44) { pen.fillStyle = colour.card; pen.fillText(frame[5] > 1 ? frame[5] + " rows" : "at " + frame[4], at[0] + 4, y + h / 2 + 4, at[1] - at[0] - 6); }
      last = right; lastSession = frame[3];
    }
  }
  function drawLane(place) {
    const lane = lanes[place], y = top(place), h = LANE - 20, work = y + 11;
    for (const band of lane.bands) {
      if (band[4] === "fault") {
        pen.globalAlpha = 0.2; const at = box(band[1], band[2], y + 1, LANE - 2, colour.fault); pen.globalAlpha = 1;
        if (at) { pen.fillStyle = colour.fault; pen.fillRect(at[0], y + 1, 1, LANE - 2); pen.fillRect(at[1] - 1, y + 1, 1, LANE - 2); }
      } else hatch(band[1], band[2], y + 2, LANE - 4, colour.off);
    }
    for (const load of lane.loads) { const at = box(load[1], load[2], work + 1, h - 2, colour.load); if (at && at[1] - at[0] > 34) { pen.fillStyle = colour.card; pen.fillText("load", at[0] + 5, work + h / 2 + 4); } }
    drawFrames(lane, work, h);
    for (const request of lane.requests) {
      const hue = colour[hueOf("request " + request[3])], at = box(request[1], request[2], y + 5, 3, hue);
      if (at) { pen.fillStyle = hue; if (x(request[1]) >= GUTTER) pen.fillRect(at[0], y + 2, 2, 8); if (x(request[2]) <= width - EDGE) pen.fillRect(at[1] - 2, y + 2, 2, 8); }
      pen.fillStyle = hue; let last = -9;
      for (const token of request[5]) { const left = x(token); if (token >= from && token <= to && left - last >= 0.7) { pen.fillRect(left - 0.6, y + LANE - 8, 1.2, 6); last = left; } }
    }
    for (const mark of lane.marks) if (mark[1] >= from && mark[1] <= to) {
      const left = x(mark[1]); pen.fillStyle = colour.fault; pen.beginPath(); pen.moveTo(left - 5, y + 1); pen.lineTo(left + 5, y + 1); pen.lineTo(left, y + 10); pen.fill(); pen.fillRect(left - 0.5, y + 8, 1, LANE - 9);
    }
    pen.fillStyle = colour.ink; pen.font = "600 12.5px system-ui, sans-serif";
    pen.fillText(data.lanes[place], 12, y + LANE / 2 + 4, GUTTER - 22); pen.font = "11px system-ui, sans-serif";
  }
  function drawAxis() {
    const gap = step(); pen.textAlign = "center";
    for (let s = Math.ceil(from / gap) * gap; s <= to + gap * 1e-6; s += gap) {
      pen.fillStyle = colour.line; pen.fillRect(x(s), AXIS - 5, 1, height);
      pen.fillStyle = colour.soft; pen.fillText(tickLabel(s, gap), Math.min(Math.max(x(s), GUTTER + 14), width - 22), AXIS - 11);
    }
    pen.textAlign = "left";
  }
  function drawMoments() {
    for (const at of data.complaints) if (at >= from && at <= to) { pen.fillStyle = colour.bad; pen.fillRect(Math.min(x(at), width - EDGE) - 1, AXIS - 6, 2, height); }
    if (pinned !== null && pinned >= from && pinned <= to) { pen.strokeStyle = colour.ink; pen.setLineDash([4, 3]); pen.beginPath(); pen.moveTo(x(pinned), AXIS - 6); pen.lineTo(x(pinned), height); pen.stroke(); pen.setLineDash([]); }
    if (dragged && dragged.moved) { pen.fillStyle = colour.ink; pen.globalAlpha = 0.12; pen.fillRect(Math.min(dragged.at, dragged.now), AXIS, Math.abs(dragged.now - dragged.at), height); pen.globalAlpha = 1; }
  }
  function draw() {
    planned = false;
    const scale = window.devicePixelRatio || 1;
    width = canvas.clientWidth || 1000;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.style.height = height + "px"; canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    }
    pen.setTransform(scale, 0, 0, scale, 0, 0); pen.fillStyle = colour.card; pen.fillRect(0, 0, width, height); pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = colour.faint; pen.globalAlpha = 0.55;
    for (let place = 0; place < lanes.length; place += 2) pen.fillRect(0, top(place), width, LANE);
    pen.globalAlpha = 1; drawAxis();
    lanes.forEach((_, place) => drawLane(place));
    drawMoments();
    byId("range").textContent = clock(from) + " to " + clock(to);
  }
  const plan = () => { if (!planned) { planned = true; requestAnimationFrame(draw); } };
  function show(a, b) {
    const length = Math.min(Math.max(b - a, 1e-5), end);
    from = Math.min(Math.max(a, 0), end - length); to = from + length; plan();
  }
  const zoom = (factor, around = (from + to) / 2) => show(around - (around - from) * factor, around + (to - around) * factor);
  const move = (part) => show(from + (to - from) * part, to + (to - from) * part);

  function nameAt(lane, s, y) {
    const near = (to - from) / (width - GUTTER) * 4, said = [];
    for (const mark of lane.marks) if (Math.abs(mark[1] - s) < near) said.push(clock(mark[1]) + ": " + mark[2]);
    const frame = lane.frames.slice(firstVisible(lane.frames)).find((f) => f[1] - near / 8 <= s && s <= f[2] + near / 8);
    if (frame) said.push(keyOf(frame[3]) + (requestOf(frame[3]) === null ? "" : " (session " + data.sessions[frame[3]][0].slice(0, 6) + "…)") + "\nlayers " + frame[6] + ", " + (frame[5] > 1 ? frame[5] + " rows from " : "position ") + frame[4] + "\n" + clock(frame[1]) + ", " + span(frame[2] - frame[1]));
    for (const load of lane.loads) if (load[1] <= s && s <= load[2]) said.push("loads " + load[3] + "\n" + clock(load[1]) + ", " + span(load[2] - load[1]));
    for (const band of lane.bands) if (band[1] <= s && s <= band[2]) said.push((band[4] === "fault" ? "fault: " : "") + band[3] + "\n" + clock(band[1]) + " to " + clock(band[2]));
    if (y < 12 || y > LANE - 10) for (const request of lane.requests) if (request[1] <= s && s <= request[2]) {
      const token = request[5].findIndex((t) => Math.abs(t - s) < near);
      said.push("request " + request[3] + (token >= 0 && y > 12 ? ": token " + (token + 1) + " at " + clock(request[5][token]) : ": " + request[4]));
    }
    return said.join("\n\n");
  }
  function point(event) {
    const px = event.offsetX, lane = Math.floor((event.offsetY - AXIS) / LANE);
    if (dragged) { dragged.now = Math.min(Math.max(px, GUTTER), width - EDGE); dragged.moved = dragged.moved || Math.abs(px - dragged.at) > 4; plan(); }
    const text = px > GUTTER && lane >= 0 && lane < lanes.length ? nameAt(lanes[lane], seconds(px), event.offsetY - top(lane)) : "";
    tip.hidden = !text || (dragged !== null && dragged.moved);
    if (tip.hidden) return;
    tip.textContent = text;
    tip.style.left = Math.max(0, Math.min(px + 14, width - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(0, Math.min(event.offsetY + 16, height - tip.offsetHeight - 4)) + "px";
  }
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("pointerdown", (event) => { if (event.button === 0 && event.offsetX > GUTTER) { dragged = { at: event.offsetX, now: event.offsetX, moved: false }; canvas.setPointerCapture(event.pointerId); } });
  canvas.addEventListener("pointerup", () => {
    const done = dragged; dragged = null;
    if (done && done.moved) { const ends = [seconds(done.at), seconds(done.now)].sort((a, b) => a - b); show(ends[0], ends[1]); } else plan();
  });
  canvas.addEventListener("pointercancel", () => { dragged = null; plan(); });
  canvas.addEventListener("dblclick", () => show(0, end));
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until the timeline is chosen
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) move((event.deltaX || event.deltaY) / 1200);
    else zoom(Math.exp(event.deltaY / 400), seconds(event.offsetX));
  }, { passive: false });
  const keys = { ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6), 0: () => show(0, end), Home: () => show(0, to - from), End: () => show(end - (to - from), end) };
  canvas.addEventListener("keydown", (event) => { if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); } });
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => (button.dataset.zoom === "all" ? show(0, end) : zoom(Number(button.dataset.zoom))));
  function goTo(at) { pinned = at; const length = Math.min(to - from, Math.max(end / 10, 1e-3)); show(at - length / 2, at + length / 2); }
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".time");
    if (link) { goTo(Number(link.dataset.at)); if (link.tagName === "BUTTON") byId("timeline").scrollIntoView(); canvas.focus({ preventScroll: true }); }
  });
  function listSessions() {
    const place = byId("sessions"), keys = [...hueOfRequest.keys()];
    for (const key of keys.slice(0, 16)) {
      const item = document.createElement("span"), swatch = document.createElement("i");
      swatch.className = "sq"; swatch.style.background = "var(--s" + hueOfRequest.get(key) + ")";
      item.append(swatch, key); place.append(item);
    }
    if (keys.length > 16) place.append("and " + (keys.length - 16) + " more; colours repeat after eight");
  }

  /* ---- events ---- */
  const PAGE = 200, alarms = new Set(["broken", "failed"]), upheavals = new Set(["fault_began", "stopped", "paused"]);
  const noisy = new Set(["message", "token", "computed"]);
  const kind = byId("kind"), device = byId("device"), wanted = byId("text"), list = byId("list"), more = byId("more");
  let found = [], listed = 0;
  const option = (value, text) => { const item = document.createElement("option"); item.value = value; item.textContent = text; return item; };
  kind.append(option("quiet", "all but messages, tokens, frames"), option("", "all"), ...data.kinds.map((name, place) => [name, place]).sort().map(([name, place]) => option(String(place), name.replaceAll("_", " "))));
  device.append(option("", "all"), ...data.eventDevices.map((name, place) => [name, place]).filter(([name]) => name).sort().map(([name, place]) => option(String(place), name)));
  function line([at, what, , said]) {
    const item = document.createElement("li"), name = data.kinds[what];
    const parts = ["button", "span", "span"].map((tag) => document.createElement(tag));
    parts.forEach((part, place) => { part.className = ["time", "kind", "said"][place]; part.textContent = [clock(at), name.replaceAll("_", " "), said][place]; });
    parts[0].type = "button"; parts[0].dataset.at = at; parts[0].title = "Show in the timeline";
    item.className = alarms.has(name) ? "alarm" : upheavals.has(name) ? "upheaval" : ""; item.append(...parts);
    return item;
  }
  function extend() {
    list.append(...found.slice(listed, listed + PAGE).map(line)); listed = Math.min(listed + PAGE, found.length);
    more.hidden = listed >= found.length; more.textContent = "Show more (" + (found.length - listed).toLocaleString("en") + " left)";
  }
  function filter() {
    const text = wanted.value.trim().toLowerCase();
    const fits = (row) => (kind.value === "quiet" ? !noisy.has(data.kinds[row[1]]) : kind.value === "" || row[1] === Number(kind.value)) && (device.value === "" || row[2] === Number(device.value)) && (!text || row[3].toLowerCase().includes(text));
    found = data.events.filter(fits); listed = 0; list.replaceChildren(); extend();
    byId("found").textContent = found.length.toLocaleString("en") + " of " + data.events.length.toLocaleString("en") + " events";
  }
  for (const part of [kind, device, wanted]) part.addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", extend);

  /* ---- page ---- */
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => { readColours(); draw(); };
  const theme = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; repaint(); };
  byId("theme").addEventListener("click", () => theme((root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark" ? "light" : "dark"));
  byId("copy").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(byId("command").textContent); byId("copy").textContent = "Copied"; }
    catch { getSelection().selectAllChildren(byId("command")); }
  });
  let before = null;
  window.addEventListener("beforeprint", () => { before = root.dataset.theme || null; theme("light"); });
  window.addEventListener("afterprint", () => theme(before));
  dark.addEventListener("change", repaint);
  new ResizeObserver(plan).observe(canvas);
  listSessions(); repaint(); filter();
})();
