"use strict";
(() => {
// Everything shown comes from models and users, so it reaches the document as text only, never as markup.
const { report, view, details, anytime } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    if (child instanceof Node) { node.appendChild(child); continue; }
    const text = document.createTextNode("");
    text.textContent = String(child);
    node.appendChild(text);
  }
  return node;
}
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const said = (tag, text, attributes = {}, ...children) => h(tag, { dir: "auto", ...attributes }, text, ...children);

// Numbers and words.
const MINUS = "\u2212";
const fixed = (value, digits = 3) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", MINUS);
const signed = (value, digits = 3) => (value > 0 ? "+" : "") + fixed(value, digits);
const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.01 ? 1 : 0)}%`;
const count = (value) => Math.round(value).toLocaleString("en-US");
const three = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const dollars = (value) => `$${three.format(value)}`;
const short = (name) => name.slice(name.lastIndexOf("/") + 1);
const label = (name) => name.split(" + ").map(short).join(" + ");
const clock = (seconds) => {
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
const unique = (values) => [...new Set(values)];

// Points.
const points = report.points;
const has = (point, role) => point.roles.includes(role);
const measured = (estimate) => (estimate && estimate.n ? estimate : null);
const quality = (point) => measured(point.test) || measured(point.dev);
const on = (point) => (measured(point.test) ? "test" : "dev");
const STANDINGS = {
  frontier: "on the frontier",
  best: "a model's best, not on the frontier",
  default: "plain default",
  searched: "only searched, on dev",
};
const standing = (point) =>
  has(point, "frontier") ? "frontier"
  : has(point, "best") || has(point, "reference") ? "best"
  : has(point, "default") ? "default" : "searched";
const frontier = points.filter((point) => has(point, "frontier"));
const numberOf = new Map(frontier.map((point, index) => [point.id, index + 1]));
const reference = points.find((point) => has(point, "reference") && quality(point));
const labels = unique(points.map((point) => point.label)).sort();
const colour = (point) => `c${labels.indexOf(point.label) % 7}`;
const largest = Math.max(...points.map((point) => point.size || 0), 0);
const radius = (point) => {
  const whole = largest && point.size ? Math.max(4.5, 11 * Math.sqrt(point.size / largest)) : 6.5;
  return standing(point) === "searched" ? Math.max(3.5, 0.62 * whole) : whole;
};
const most = Math.max(0, ...points.map((point) => (point.test ? point.test.n : 0)));
const title = (point) => `${numberOf.has(point.id) ? `${numberOf.get(point.id)}. ` : ""}${point.label}`;
const cost = (point) => `${dollars(1000 * point.cost)} per 1,000 rollouts`;
const gist = (point) => [
  title(point),
  point.summary,
  quality(point) ? `${on(point)} ${point.said[on(point)]}` : "not measured",
  cost(point),
  has(point, "reference") ? "reference" : point.said.verdict,
  STANDINGS[standing(point)] + (has(point, "default") && standing(point) !== "default" ? ", plain default" : ""),
].filter(Boolean);

function shape(kind, r, attributes) {
  // Equal areas: a square, a circle or a triangle of the area of a circle with radius r.
  if (kind === "base") {
    const half = r * Math.sqrt(Math.PI) / 2;
    return s("rect", { x: -half, y: -half, width: 2 * half, height: 2 * half, ...attributes });
  }
  if (kind === "instruct") return s("circle", { r, ...attributes });
  const out = r * Math.sqrt((4 * Math.PI) / (3 * Math.sqrt(3)));
  return s("path", { d: `M0 ${-out} L${out * 0.866} ${out / 2} L${-out * 0.866} ${out / 2} Z`, ...attributes });
}
const swatch = (point) =>
  s("svg", { class: `swatch ${colour(point)}`, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, shape(point.kind, 5, { class: "fill" }));

// Tables. A head of several columns; on narrow screens rows stack and name their cells.
function table(columns, rows, caption, stack = true) {
  const head = h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)));
  return h("table", { class: stack ? "stack" : "", "aria-label": caption }, h("thead", {}, head), h("tbody", {}, rows));
}
const cell = (name, ...content) => h("td", { class: "num", "data-name": name }, ...content);
const opener = (point, text) => {
  const button = h("button", { type: "button", class: "text", "aria-haspopup": "dialog" }, text);
  button.addEventListener("click", () => openPanel(point));
  return button;
};

// Sections, as the report and the terminal show them.
const byIdentity = new Map(points.map((point) => [point.id, point]));
const VERDICTS = { match: "match", "no match": "no-match", indecisive: "indecisive" };
function sectionTable(section) {
  const { columns, rows, right, ids } = section.table;
  const name = columns.indexOf("model") < 0 ? 0 : columns.indexOf("model");
  const body = rows.map((row, index) => {
    const point = byIdentity.get(ids[index]);
    return h("tr", {}, row.map((text, place) => {
      if (place === name) return said("th", null, { scope: "row", class: "wide" }, point ? [swatch(point), opener(point, text)] : text);
      const found = point && point.comparison, last = found && !section.table.bare && place === row.length - 1;
      const content = last ? h("span", { class: `verdict ${VERDICTS[found.verdict]}` }, text) : text;
      return said("td", null, { class: right.includes(place) ? "num" : "small", "data-name": columns[place] || null }, content);
    }));
  });
  return h("div", { class: section.table.bare ? "" : "scroll" }, table(columns, body, section.title));
}
function sectionOf(section, heading = true) {
  return [
    heading && section.title ? said("h3", section.title) : null,
    section.table ? sectionTable(section) : null,
    section.facts.length ? pairs(section.facts) : null,
    ...section.lines.map((line) => said("p", line, { class: "small any" })),
  ].filter(Boolean);
}

// Axes.
function quantities(low, high) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((size) => (high - low) / size <= 7) || 0.2;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9; k += 1) {
    if (k * step > -1e-9 && k * step < 1 + 1e-9) ticks.push(Math.abs(k * step));
  }
  return { ticks, text: (value) => value.toFixed(step < 0.1 ? 2 : 1) };
}
function powers(low, high, room) {
  for (const parts of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1]]) {
    const ticks = [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const part of parts) {
        const at = power + Math.log10(part);
        if (at >= low && at <= high) ticks.push(at);
      }
    }
    if (ticks.length <= room || parts.length === 1) {
      return ticks.filter((_, index) => index % Math.ceil(ticks.length / room) === 0);
    }
  }
  return [];
}
function frame(canvas, box, across, up, xs, ys, words) {
  const bottom = box.height - box.bottom;
  for (const [at, text] of ys) {
    canvas.append(s("line", { class: "grid", x1: box.left, x2: box.width - box.right, y1: up(at), y2: up(at) }),
      s("text", { x: box.left - 8, y: up(at) + 4, "text-anchor": "end" }, text));
  }
  canvas.append(s("line", { class: "axis", x1: box.left, x2: box.width - box.right, y1: bottom, y2: bottom }));
  for (const [at, text] of xs) {
    canvas.append(s("line", { class: "axis", x1: across(at), x2: across(at), y1: bottom, y2: bottom + 5 }),
      s("text", { x: across(at), y: bottom + 19, "text-anchor": "middle" }, text));
  }
  canvas.append(s("text", { x: (box.left + box.width - box.right) / 2, y: box.height - 6, "text-anchor": "middle" }, words));
}
const linear = (from, to, start, end) => (value) => start + ((value - from) / (to - from || 1)) * (end - start);

// The chart.
const chosen = {};
const passes = (point) =>
  chosen.model.has(point.label) && chosen.kind.has(point.kind) &&
  point.techniques.some((name) => chosen.technique.has(name)) && chosen.shown.has(standing(point));
const floor = Math.min(...points.map((point) => point.cost).filter((value) => value > 0), Infinity);
const FREE = Number.isFinite(floor) ? floor / 3 : 1e-12;
const logCost = (point) => Math.log10(1000 * Math.max(point.cost, FREE));
let visible = [], places = new Map(), current = null;

function drawChart() {
  const holder = byId("chart"), width = holder.clientWidth || 1080, narrow = width < 600;
  const box = { width, height: narrow ? 380 : 480, left: 44, right: 16, top: 34, bottom: 46 };
  const held = holder.contains(document.activeElement);
  visible = points.filter((point) => quality(point) && passes(point));
  byId("count").textContent = `${visible.length} of ${points.length} points shown.`;
  holder.replaceChildren();
  places = new Map();
  if (!visible.length) {
    holder.append(h("p", { class: "soft" }, points.length ? "No measured point passes the filters." : "Nothing has been measured yet."));
    return;
  }
  const scales = scalesOf(box), { across, up, xs, ys } = scales;
  const canvas = s("svg", { viewBox: `0 0 ${width} ${box.height}`, width, height: box.height, role: "group", "aria-label": "Points, cost to the right, quality upwards" });
  frame(canvas, box, across, up, xs, ys, narrow ? "US dollars per 1,000 rollouts (log)" : "serving cost, US dollars per 1,000 rollouts (log scale)");
  canvas.append(s("text", { x: 8, y: 14 }, "quality"));
  if (reference) drawReference(canvas, box, up, narrow);
  const drawn = (wanted) => visible.filter((point) => standing(point) === wanted);
  drawn("searched").forEach((point) => canvas.append(drawPoint(point, scales)));
  drawSteps(canvas, drawn("frontier"), across, up);
  for (const wanted of ["best", "default", "frontier"]) drawn(wanted).forEach((point) => canvas.append(drawPoint(point, scales)));
  holder.append(canvas, h("div", { class: "tip", id: "tip", hidden: "" }));
  if (!visible.includes(current)) current = visible.find((point) => has(point, "frontier")) || visible[0];
  places.get(current).node.setAttribute("tabindex", "0");
  if (held) places.get(current).node.focus();
}

function scalesOf(box) {
  const costs = visible.map(logCost), spread = Math.max(...costs) - Math.min(...costs);
  const pad = Math.max(0.05, 0.06 * spread), left = Math.min(...costs) - pad, right = Math.max(...costs) + pad;
  const { low, high } = heightsOf(), air = 0.04 * (high - low) + 0.01;
  const { ticks, text } = quantities(low - air, high + air);
  const free = visible.some((point) => point.cost === 0);
  const start = free ? Math.log10(1000 * FREE) + 0.2 : left;
  const costly = powers(start, right, Math.max(3, Math.floor(box.width / 95)));
  return {
    across: linear(left, right, box.left + 12, box.width - box.right - 12),
    up: linear(low - air, high + air, box.height - box.bottom, box.top),
    least: low,
    xs: [...(free ? [[Math.log10(1000 * FREE), "free"]] : []), ...costly.map((at) => [at, three.format(10 ** at)])],
    ys: ticks.map((at) => [at, text(at)]),
  };
}

function heightsOf() {
  const ends = (point) => {
    const { mean, low, high } = quality(point);
    return standing(point) === "searched" ? [mean] : [low, high, mean];
  };
  const apart = visible.filter((point) => ["frontier", "best"].includes(standing(point)));
  const heart = (apart.length ? apart : visible).flatMap(ends), every = visible.flatMap(ends);
  if (reference) heart.push(quality(reference).mean, quality(reference).mean - report.margin);
  const high = Math.min(1, Math.max(...heart, ...every)), low = Math.max(0, Math.min(...heart));
  // A default that scores 0 would press the rest into a corner: what lies far below sits at the foot, with its value.
  const foot = low - Math.max(0.1, 0.6 * (high - low));
  return { high, low: Math.max(0, foot, Math.min(low, ...every)) };
}

function drawReference(canvas, box, up, narrow) {
  const level = quality(reference).mean, right = box.width - box.right, name = narrow ? "" : ` of ${label(report.reference)}`;
  canvas.append(
    s("rect", { class: "band", x: box.left, width: right - box.left, y: up(level), height: Math.max(0, up(level - report.margin) - up(level)) }),
    s("line", { class: "level", x1: box.left, x2: right, y1: up(level), y2: up(level) }),
    s("line", { class: "level", x1: right - 22, x2: right, y1: 10, y2: 10 }),
    s("text", { x: right - 28, y: 14, "text-anchor": "end" }, `reference: best${name} ${fixed(level)}, band: margin ${report.margin}`));
}

function drawSteps(canvas, found, across, up) {
  let best = -1, path = "";
  for (const point of found) {
    if (quality(point).mean <= best) continue;
    const x = across(logCost(point)), y = up(quality(point).mean);
    path += path ? ` H${x} V${y}` : `M${x} ${y}`;
    best = quality(point).mean;
  }
  const last = found.at(-1);
  if (last) canvas.append(s("path", { class: "steps", d: `${path} H${across(logCost(last))}` }));
}

function drawPoint(point, { across, up: upwards, least }) {
  const place = standing(point), estimate = quality(point), r = radius(point);
  const up = (value) => upwards(Math.max(least, value)), under = estimate.mean < least;
  const x = across(logCost(point)), y = up(estimate.mean), hollow = place === "default";
  const faint = { frontier: 1, best: 0.6, default: 0.9, searched: 0.42 }[place];
  const above = up(estimate.high) - y, below = up(estimate.low) - y;
  const group = s("g", {
    class: `point ${colour(point)}`, transform: `translate(${x} ${y})`, role: "button", tabindex: "-1",
    "aria-haspopup": "dialog", "aria-label": gist(point).join("; "),
  });
  group.append(
    s("path", { class: `whisker stroke${place === "searched" ? " asked" : ""}`, opacity: Math.max(0.6, faint), d: `M-4 ${above} H4 M0 ${above} V${below} M-4 ${below} H4` }),
    shape(point.kind, r, hollow ? { class: "stroke", fill: "var(--page)", "stroke-width": 2.4 } : { class: "mark fill", opacity: faint }),
    s("circle", { class: "ring", r: r + 4.5 }));
  if (!hollow && has(point, "default")) group.append(shape(point.kind, r + 3, { class: "stroke", fill: "none", "stroke-width": 1.6 }));
  if (numberOf.has(point.id)) group.append(s("text", { class: "number halo", x: r + 3, y: -r + 1, "aria-hidden": "true" }, numberOf.get(point.id)));
  if (under) group.append(s("text", { class: "halo", y: -r - 6, "text-anchor": "middle", "aria-hidden": "true" }, place === "searched" ? "\u2193" : `\u2193 ${fixed(estimate.mean, 2)}`));
  group.addEventListener("focus", () => { current = point; showTip(point); });
  group.addEventListener("blur", hideTip);
  places.set(point, { x, y, node: group });
  return group;
}

function showTip(point) {
  const tip = byId("tip"), { x, y, node } = places.get(point), width = byId("chart").clientWidth;
  hideTip();
  node.classList.add("hot");
  tip.replaceChildren(...gist(point).map((line) => said("div", line)));
  tip.hidden = false;
  const scale = width / byId("chart").querySelector("svg").viewBox.baseVal.width;
  const left = x * scale + 18 + tip.offsetWidth > width ? x * scale - 18 - tip.offsetWidth : x * scale + 18;
  tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
  // Below the point, where fewer other points are; above where it would leave the chart.
  const below = (y + 20) * scale, above = (y - 20) * scale - tip.offsetHeight;
  tip.style.top = `${below + tip.offsetHeight > byId("chart").clientHeight && above > 0 ? above : below}px`;
}
function hideTip() {
  const tip = byId("tip");
  if (tip) tip.hidden = true;
  for (const point of visible) places.get(point)?.node.classList.remove("hot");
}
function nearest(event) {
  const canvas = byId("chart").querySelector("svg");
  if (!canvas) return null;
  const area = canvas.getBoundingClientRect(), scale = canvas.viewBox.baseVal.width / area.width;
  const x = (event.clientX - area.left) * scale, y = (event.clientY - area.top) * scale;
  let found = null, least = 26;
  for (const point of visible) {
    const place = places.get(point);
    // What was tested goes before what lies under it.
    const away = Math.hypot(place.x - x, place.y - y) + (standing(point) === "searched" ? 5 : 0);
    if (away < least) [found, least] = [point, away];
  }
  return found;
}
function focusPoint(point) {
  places.get(current)?.node.setAttribute("tabindex", "-1");
  current = point;
  places.get(point).node.setAttribute("tabindex", "0");
  places.get(point).node.focus();
}
function keyed(event) {
  if (event.key === "Escape") return hideTip();
  const owner = event.target.closest(".point");
  if (!owner || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); return openPanel(current); }
  const height = (point) => quality(point).mean;
  const byHeight = [...visible].sort((a, b) => height(a) - height(b) || a.cost - b.cost);
  const [order, step] = {
    ArrowRight: [visible, 1], ArrowLeft: [visible, -1], ArrowUp: [byHeight, 1], ArrowDown: [byHeight, -1],
    Home: [visible, -Infinity], End: [visible, Infinity],
  }[event.key] || [];
  if (!order) return;
  event.preventDefault();
  focusPoint(order[Math.max(0, Math.min(order.length - 1, order.indexOf(current) + step))]);
}
function wireChart() {
  const holder = byId("chart");
  holder.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    if (point) showTip(point); else hideTip();
  });
  holder.addEventListener("pointerleave", hideTip);
  holder.addEventListener("click", (event) => {
    // A screen reader's click has no place of its own, only the element it is on.
    const owner = event.target.closest(".point");
    const point = event.detail ? nearest(event) : visible.find((one) => places.get(one).node === owner);
    if (point) { focusPoint(point); openPanel(point); }
  });
  holder.addEventListener("keydown", keyed);
  // The first report is of the width it has just been drawn at.
  let width = holder.clientWidth;
  new ResizeObserver(() => {
    if (holder.clientWidth === width || matchMedia("print").matches) return;
    width = holder.clientWidth;
    drawChart();
    drawCurve();
  }).observe(holder);
}

// Filters.
function filter(name, key, values, name_of, mark = () => null) {
  chosen[key] = new Set(values);
  if (values.length < 2) return;
  const boxes = values.map((value) => {
    const input = h("input", { type: "checkbox", checked: "" });
    input.addEventListener("change", () => {
      if (input.checked) chosen[key].add(value); else chosen[key].delete(value);
      drawChart();
    });
    return h("label", {}, input, mark(value), name_of(value));
  });
  byId("filters").append(h("fieldset", {}, h("legend", {}, name), boxes));
}
function drawFilters() {
  filter("Model", "model", labels, (value) => value, (value) => swatch(points.find((point) => point.label === value)));
  filter("Kind", "kind", unique(points.map((point) => point.kind)), (value) => value);
  filter("Technique", "technique", unique(points.flatMap((point) => point.techniques)).sort(), (value) => value.replaceAll("_", " "));
  const held = Object.keys(STANDINGS).filter((place) => points.some((point) => standing(point) === place));
  filter("Shown", "shown", held, (value) => STANDINGS[value]);
}

// The panel.
let listed = [];
function openPanel(point) {
  const panel = byId("panel");
  listed = visible.includes(point) ? visible : points;
  current = visible.includes(point) ? point : current;
  fillPanel(point);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  byId("panel-title").focus();
  panel.dataset.at = listed.indexOf(point);
}
function fillPanel(point) {
  const at = listed.indexOf(point), detail = details[point.id];
  byId("panel-title").replaceChildren(swatch(point), title(point));
  byId("earlier").disabled = at <= 0;
  byId("later").disabled = at === listed.length - 1;
  byId("panel-body").replaceChildren(...[
    said("p", point.summary), facts(point),
    ...Object.entries(point.candidate.predictors).flatMap(([name, prompt]) => prompted(point, name, prompt, detail)),
    ...labelScores(detail), ...sampleErrors(detail),
    detail ? null : h("p", { class: "soft small" }, "The messages as sent, scores per label and sample errors of this point are not in this page."),
  ].filter(Boolean));
}
function pairs(entries) {
  return h("dl", {}, entries.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) =>
    [said("dt", name), value instanceof Node ? h("dd", {}, value) : said("dd", shown(value))]));
}
function facts(point) {
  const { said: words, noise } = point;
  const verdict = point.comparison && h("span", { class: `verdict ${VERDICTS[point.comparison.verdict]}` }, words.verdict);
  return pairs([
    ["sealed test", words.test || "not measured"], ["dev", words.dev || "not measured"],
    ["to the reference's best", has(point, "reference") ? "reference" : verdict && h("span", {}, verdict, ` ${words.gap}`)],
    ["to its plain default", words.default_gap],
    ["on a rerun", noise && `${percent(noise.changed)} of ${noise.n} scores change`],
    ["serving cost", cost(point)],
    ["tokens", `${point.prompt_tokens.toFixed(0)} read, ${point.completion_tokens.toFixed(1)} written per rollout`],
    ["seconds", `${fixed(point.latency, 2)} at the median, ${fixed(point.latency_p95, 2)} at p95, ${point.concurrency} at once`],
    ["model", `${point.kind}${point.size ? `, ${three.format(point.size)} billion parameters` : ""}`],
    ["why it is here", point.roles.join(", ")], ["id", point.id],
  ]);
}
function prompted(point, name, prompt, detail) {
  const own = prompt.serving || point.candidate, several = Object.keys(point.candidate.predictors).length > 1;
  const sent = detail && detail.sent.find((one) => one.predictor === name), demos = prompt.demos, near = prompt.nearest;
  const of = several ? `, ${name}` : "";
  return [
    said("h3", `Instruction${of}: ${prompt.instruction_name}`), said("pre", prompt.instruction, { class: "card" }),
    ...(sent ? [said("h3", `Prompt as sent${of}, for a sample input`), ...sent.messages.map((message) =>
      h("div", { class: "card" }, said("p", message.role, { class: "role" }), said("pre", message.content)))] : []),
    said("h3", `Demos${of}: ${prompt.demos_name}`),
    near ? h("p", { class: "small" }, `${near.count} chosen for each input from ${count(near.pool_size)} examples, such as:`) : null,
    ...(near ? near.pool : demos).map((demo) => h("div", { class: "card" }, pairs(Object.entries(demo)))),
    !near && !demos.length ? h("p", { class: "small" }, "None.") : null,
    said("h3", `Serving and sampling${of}`),
    pairs([["model", own.model], ["rendering", own.rendering], ["technique", own.technique], ...Object.entries(own.sampling)]),
  ].filter(Boolean);
}
function labelScores(detail) {
  if (!detail || !detail.found.labels.length) return [];
  const { labels: scores, labels_on: split } = detail.found;
  const rows = scores.map((one) => h("tr", {}, said("th", one.label, { scope: "row" }),
    h("td", {}, bar(one.mean, null, true)), h("td", { class: "num" }, `${fixed(one.mean)}, n\u00a0=\u00a0${one.n}`)));
  const several = unique(scores.map((one) => one.field)).length > 1;
  if (several) scores.forEach((one, index) => rows[index].firstChild.prepend(`${one.field}: `));
  return [h("h3", {}, `Mean score by declared answer, on ${split}`), table(["declared", "", "score"], rows, "Scores by label", false)];
}
function sampleErrors(detail) {
  if (!detail || !detail.found.errors.length) return [];
  return [h("h3", {}, "Some of its errors on dev"), ...detail.found.errors.map((one) => h("div", { class: "card" }, pairs([
    ...Object.entries(one.inputs),
    ...one.said.flatMap((answer) => [
      ["said", answer.error ? `unreadable: ${answer.error}` : answers(answer.output)], ["right", answers(one.right)],
      ["score", answer.score > 0 ? fixed(answer.score) : null],
    ]),
  ])))];
}
function answers(outputs) {
  const entries = Object.entries(outputs);
  return entries.length === 1 ? shown(entries[0][1]) : entries.map(([name, value]) => `${name}: ${shown(value)}`).join("\n");
}
function wirePanel() {
  const panel = byId("panel"), turn = (step) => {
    const next = listed[Number(panel.dataset.at) + step];
    if (next) openPanel(next);
  };
  byId("earlier").addEventListener("click", () => turn(-1));
  byId("later").addEventListener("click", () => turn(1));
  byId("close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
}

// The curve, the choices, and what to know.
function drawCurve() {
  const known = anytime.filter(([spent, best]) => spent !== null && best !== null);
  if (!known.length) return;
  byId("anytime").hidden = false;
  const holder = byId("curve"), width = holder.clientWidth || 760;
  const box = { width, height: 260, left: 44, right: 24, top: 16, bottom: 46 };
  const [spent, best] = known.at(-1), [reached] = known.find(([, value]) => value === best), values = known.map(([, value]) => value);
  const low = Math.max(0, Math.min(...values)), high = Math.max(...values), air = 0.06 * (high - low) + 0.01;
  const across = linear(0, spent || 1, box.left, width - box.right), up = linear(low - air, high + air, box.height - box.bottom, box.top);
  const { ticks, text } = quantities(low - air, high + air);
  const part = (at) => (spent ? percent(at / spent) : "0%");
  const sentence = `Dev ${fixed(known[0][1], 2)} after ${part(known[0][0])} of the spend, ${fixed(best, 2)} after ${part(reached)}, then flat. ${dollars(spent)} in all, the sealed test included.`;
  const canvas = s("svg", { viewBox: `0 0 ${width} ${box.height}`, width, height: box.height, role: "img", "aria-label": sentence });
  const size = 10 ** Math.floor(Math.log10(spent || 1)), step = [0.1, 0.2, 0.5, 1, 2].map((part) => part * size).find((one) => spent / one <= width / 110);
  const marks = Array.from({ length: Math.floor(spent / step) + 1 }, (_, index) => index * step);
  frame(canvas, box, across, up, marks.map((at) => [at, three.format(at)]), ticks.map((at) => [at, text(at)]), "US dollars spent");
  let path = `M${across(known[0][0])} ${up(known[0][1])}`;
  for (const [at, value] of known.slice(1)) path += ` H${across(at)} V${up(value)}`;
  canvas.append(s("path", { class: "steps", d: path }), s("circle", { class: "c0 fill", r: 4, cx: across(reached), cy: up(best) }));
  byId("anytime-reading").textContent = `${sentence} Dev scores flatter the best, which was chosen there; test scores do not.`;
  holder.replaceChildren(canvas);
}

function bar(share, interval, sure) {
  const [low, high] = (interval || []).map((value) => 150 * value);
  return s("svg", { class: "bar", viewBox: "0 0 150 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "track", width: 150, height: 14 }), s("rect", { class: sure ? "sure" : "part", width: 150 * share, height: 14 }),
    interval ? s("path", { d: `M${low} 7 H${high} M${low + 0.5} 3 V11 M${high - 0.5} 3 V11` }) : null);
}
function choice(one) {
  const sure = one.low > 0, others = one.goes_with.length ? ` (with ${one.goes_with.join(", ")})` : "";
  const rows = one.effects.map((effect) => h("tr", {}, said("th", short(effect.value), { scope: "row", class: "wide" }),
    cell("difference", effect.value === one.baseline ? "most common" : `${signed(effect.effect, 2)} (${signed(effect.low, 2)} to ${signed(effect.high, 2)})`),
    cell("cost", effect.cost_ratio ? `\u00d7 ${effect.cost_ratio.toFixed(2)}` : ""), cell("candidates", effect.candidates)));
  return h("details", { class: "choice" },
    h("summary", {}, h("span", { dir: "auto", class: sure ? "sure-name any" : "any" }, one.dimension, h("span", { class: "soft small" }, others)),
      bar(one.share, [one.low, one.high], sure), h("span", { class: "num small share nowrap" }, `${percent(one.share)} (${percent(one.low)} to ${percent(one.high)})`)),
    table(["value", "difference (90% interval)", "cost", "candidates"], rows, "Effects of each value"));
}
function drawChoices() {
  const FIRST = 4;
  for (const model of unique(report.importance.map((one) => one.model))) {
    const group = report.importance.filter((one) => one.model === model), sure = group.filter((one) => one.low > 0);
    const first = [...sure, ...group.filter((one) => one.low <= 0)].slice(0, Math.max(FIRST, sure.length));
    const rest = group.filter((one) => !first.includes(one));
    byId("groups").append(h("h3", { class: "any" }, model === null ? "All models" : label(model)),
      ...(sure.length ? [] : [h("p", { class: "small soft" }, "No single choice made a measurable difference on dev.")]), ...first.map(choice));
    if (rest.length) byId("groups").append(h("details", { class: "rest" }, h("summary", { class: "small" }, `${rest.length} more, without a measurable difference`), h("div", {}, rest.map(choice))));
  }
  byId("choices").hidden = !report.importance.length;
}
function drawRobustness() {
  byId("stands").hidden = !view.stress.length;
  const [together, ...single] = view.stress;
  if (!together) return;
  byId("standing").append(...sectionOf(together, false), h("details", { class: "rest" },
    h("summary", { class: "small" }, "Each change and injection"), h("div", {}, ...single.flatMap((one) => sectionOf(one)))));
}
function drawKnow() {
  const lines = [...view.luck, ...report.notes];
  if (!most) lines.unshift("Nothing was measured on the sealed test. These are dev scores, which chose the points and so overstate them.");
  if (!lines.length) lines.push("Nothing in particular.");
  byId("know").append(...lines.map((line) => said("li", line)));
}
function drawSuspects() {
  byId("suspects").hidden = !report.suspects.length;
  const FIRST = 4, cards = report.suspects.map((one) => h("div", { class: "card" }, pairs([
    ...Object.entries(one.inputs), ["declared", answers(one.gold)],
    ["said instead", `${answers(one.said)} (${percent(one.share)} of ${one.candidates} candidates; ${one.models.map(short).join(", ")})`],
  ])));
  byId("suspected").append(...cards.slice(0, FIRST));
  if (cards.length > FIRST) byId("suspected").append(h("details", { class: "rest" }, h("summary", { class: "small" }, `${cards.length - FIRST} more`), h("div", {}, cards.slice(FIRST))));
}
function drawSpend() {
  const { spend, prediction } = report;
  if (!spend) return;
  byId("spend").hidden = false;
  const kinds = [["calls", count], ["tokens", count], ["dollars", (value) => three.format(value)], ["seconds", clock]];
  const rows = kinds.map(([name, text]) => h("tr", {}, h("th", { scope: "row" }, name === "seconds" ? "time" : name),
    h("td", { class: "num" }, text(spend.total[name])), prediction ? h("td", { class: "num" }, text(prediction.total[name])) : null));
  const parts = (found) => Object.entries(found).map(([name, value]) => `${name} ${count(value)}`).join(", ");
  const used = table(["", "used", ...(prediction ? ["predicted"] : [])], rows, "Used and predicted", false);
  used.classList.add("spent");
  byId("spent").append(used,
    h("p", { class: "small any" }, `Budget: ${report.budget || "not stated"}. ${count(report.trials)} trials, ${count(report.rollouts)} rollouts. `,
      `Calls by phase: ${parts(spend.by_phase)}. By state: ${parts(spend.by_state)}.`));
}
function drawHead() {
  document.title = `${report.task}: frontier`;
  byId("about").textContent = `Study ${report.study}, metric ${report.metric}`;
  byId("task").textContent = report.task;
  const { question, answer, short: reached } = view.headline;
  byId("answer").append(question, ...(answer ? [h("span", { class: `word ${answer.toLowerCase().replace(" ", "-")}` }, answer)] : []));
  byId("h-frontier").textContent = view.prices.title;
  byId("tested").textContent = most ? `${reached} 95% intervals, on rows that no prompt was chosen on.` : "The sealed test has not been measured.";
  byId("reading").textContent = "Solid and numbered: the frontier, with 95% intervals, and the line is the best quality for each cost. Hollow: plain defaults. Faint: only searched, at the dev score. "
    + "Colour is the model, area its size; squares are base models, circles instruct, triangles chat.";
}

drawHead();
byId("result").append(...[view.bests, view.gains].flatMap((section) => sectionOf(section)));
byId("frontier").append(...sectionOf(view.prices, false), pairs(view.closing.filter(([name]) => ["Do", "Trust", "*"].includes(name))));
drawFilters();
drawChoices();
drawRobustness();
drawKnow();
drawSuspects();
drawSpend();
byId("main").hidden = false;
wirePanel();
drawChart();
drawCurve();
wireChart();
})();
