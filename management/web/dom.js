// SPDX-License-Identifier: Apache-2.0
// Elements out of names, properties and children. Text becomes text nodes and nothing else: what a
// client chose (names, headers, payloads) can never become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export const h = (tag, properties, ...children) =>
  fill(document.createElement(tag), properties, children);
export const s = (tag, properties, ...children) =>
  fill(document.createElementNS(SVG, tag), properties, children);

const nameOf = (control) => `${control.getAttribute("href")} ${control.textContent}`;

// New children in the place of the old ones; what had the focus has it again if it is still there.
export function replace(element, ...children) {
  const focused = element.contains(document.activeElement) && nameOf(document.activeElement);
  element.replaceChildren();
  append(element, children);
  const again = focused && [...element.querySelectorAll("a, button")].find((control) =>
    nameOf(control) === focused);
  if (again) again.focus({ preventScroll: true });
  return element;
}

// Sets a text only when it differs, so that a screen reader and a selection are left alone.
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

export function link(href, text, properties) {
  return h("a", { href, ...properties }, text);
}

export function button(text, action, properties) {
  return h("button", { type: "button", onclick: action, ...properties }, text);
}

let fields = 0;

// A label with its input below; `input` is an element.
export function field(label, input, hint) {
  const id = `field-${++fields}`;
  input.id = id;
  const note = hint && h("small", { id: `${id}-hint` }, hint);
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note);
}

export function choice(options, value, onchange) {
  const select = h("select", { onchange: () => onchange && onchange(select.value) },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  return select;
}

export function notice(text, kind = "good") {
  const box = h("div", { class: `notice ${kind}` }, h("span", {}, text),
    button("×", () => box.remove(), { "aria-label": "Close", class: "plain" }));
  document.getElementById("notices").append(box);
  if (kind === "good") setTimeout(() => box.remove(), 8000);
}

// Runs an action of a button: the button waits, what goes wrong is told.
export async function act(control, action) {
  control.disabled = true;
  try {
    return await action();
  } catch (error) {
    notice(error.message, "bad");
    return undefined;
  } finally {
    control.disabled = false;
  }
}

// A dialog of the browser's own kind: it keeps the focus and ends with Escape. `build` gets a
// function that closes it.
export function dialog(title, build) {
  const box = h("dialog", { "aria-label": title });
  const close = () => { box.close(); box.remove(); };
  box.addEventListener("close", () => box.remove());
  box.append(h("h2", {}, title));
  append(box, [build(close)]);
  document.body.append(box);
  box.showModal();
  return close;
}

// Asks before what cannot be undone; with `typed` that text has to be typed.
export function confirm(title, text, label, action, typed) {
  dialog(title, (close) => {
    const input = typed !== undefined && h("input", { autocomplete: "off", spellcheck: "false" });
    const go = button(label, () => act(go, async () => { await action(); close(); }),
      { class: "danger", disabled: typed !== undefined });
    if (input) input.addEventListener("input", () => { go.disabled = input.value !== typed; });
    return h("div", {}, h("p", {}, text),
      input && field(`Type ${typed} to confirm`, input),
      h("div", { class: "row end" }, button("Cancel", close), go));
  });
}

// Numbers and times as people read them.

export function count(value) {
  if (value === undefined || value === null) return "–";
  if (value < 10000) return String(Math.round(value));
  const units = ["k", "M", "G", "T"];
  let at = -1;
  while (value >= 1000 && at < units.length - 1) { value /= 1000; at++; }
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

export const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;

export function rate(value) {
  if (value === undefined || value === null) return "–";
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(value)}/s`;
}

export function octets(value) {
  if (value === undefined || value === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at++; }
  return `${at > 0 && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export function span(ms) {
  if (ms === undefined || ms === null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

export const time = (ms) => ms === null || ms === undefined ? "–" : new Date(ms).toLocaleString();

export function badge(text, kind) {
  return h("span", { class: `badge ${kind || ""}` }, text);
}

export function definitions(pairs) {
  return h("dl", { class: "facts" }, pairs.filter((pair) => pair)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// A table that is shown as a whole; `columns` are titles, a class after "|".
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return h("p", { class: "quiet" }, empty || "There are none.");
  const classes = columns.map((column) => column.split("|")[1]);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { role: "table" }, h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column, i) =>
        h("th", { scope: "col", class: classes[i] }, column.split("|")[0])))),
      h("tbody", {}, rows.map((row) => h("tr", { role: "row" }, row.map((cell, i) =>
        h("td", { role: "cell", class: classes[i], "data-title": columns[i].split("|")[0] }, cell)))))));
}

export function json(value) {
  return h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

const points = (measured, width, height, max) => (measured.length === 1 ?
  [measured[0], measured[0]] : measured).map((value, i) => {
  const x = (i / Math.max(1, measured.length - 1)) * width;
  return `${x.toFixed(1)},${(height - (max > 0 ? value / max : 0) * (height - 2) - 1).toFixed(1)}`;
}).join(" ");

// A small line without axes beside a number that says the same.
export function sparkline(values) {
  const max = Math.max(...values, 0);
  return s("svg", { class: "spark", viewBox: "0 0 120 28", preserveAspectRatio: "none",
    "aria-hidden": "true" },
    s("polyline", { points: points(values.length < 2 ? [0, 0] : values, 120, 28, max) }));
}

// One line for each of `series` ({name, values, className}), with the largest value written.
export function chart(title, series, format, minutes) {
  const width = 600;
  const height = 140;
  const max = Math.max(1, ...series.flatMap((line) => line.values));
  return h("figure", { class: "chart" },
    h("figcaption", {}, title, series.map((line) =>
      h("span", { class: `key ${line.className}` }, line.name))),
    s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `${title}: at most ${format(max)}, now ${series.map((line) =>
        `${line.name} ${format(line.values.at(-1) || 0)}`).join(", ")}` },
      [0.25, 0.5, 0.75].map((part) => s("line", { class: "grid", x1: 0, x2: width,
        y1: height * part, y2: height * part })),
      series.map((line) => s("polyline", { class: line.className,
        points: points(line.values, width, height, max) }))),
    h("div", { class: "axis" }, h("span", {}, minutes),
      h("span", {}, `top: ${format(max)}`), h("span", {}, "now")));
}

// What was measured lately, as long as the page is there.
export class Recent {
  constructor(size) {
    this.size = size;
    this.values = [];
  }
  push(value) {
    this.values.push(Number.isFinite(value) ? value : 0);
    if (this.values.length > this.size) this.values.shift();
  }
}
