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

// New children in the place of the old ones.
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// What may be drawn over: the same element with the same attributes. A button is not, for what it does
// is not among them.
const isAlike = (one, other) => one.nodeType === Node.ELEMENT_NODE && one.tagName !== "BUTTON" &&
  one.cloneNode().isEqualNode(other.cloneNode());

function patch(element, made) {
  const old = [...element.childNodes];
  const nodes = [...made.childNodes];
  nodes.forEach((node, i) => {
    if (i >= old.length) element.append(node);
    else if (old[i].isEqualNode(node)) return;
    else if (isAlike(old[i], node)) patch(old[i], node);
    else old[i].replaceWith(node);
  });
  old.slice(nodes.length).forEach((node) => node.remove());
}

const nameOf = (control) => `${control.getAttribute("href")} ${control.textContent}`;

// The same for what is drawn again each second: where nothing has changed the elements stay, and with
// them a selection, and a click that has begun; what had the focus and went somewhere else has it again.
export function refresh(element, ...children) {
  const focused = element.contains(document.activeElement) && nameOf(document.activeElement);
  patch(element, h("div", {}, children));
  if (focused && !element.contains(document.activeElement)) {
    const again = [...element.querySelectorAll("a, button")].find((control) =>
      nameOf(control) === focused);
    if (again) again.focus({ preventScroll: true });
  }
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

// Trouble is told within the dialog that it happened in: nothing outside of it can be reached.
export function notice(text, kind = "good") {
  const box = h("div", { class: `notice ${kind}`, role: kind === "bad" && "alert" }, h("span", {}, text),
    button("×", () => box.remove(), { "aria-label": "Close", class: "plain" }));
  (kind === "bad" && document.querySelector("dialog") || document.getElementById("notices")).append(box);
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
}

// They belong to the page below.
export const leaveDialogs = () => document.querySelectorAll("dialog").forEach((box) => box.remove());

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
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`; // of clocks that do not agree
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

// As where the browser is, in the form of ISO 8601, which the Swedes write.
export const time = (ms) => ms === null || ms === undefined ? "–" : new Date(ms).toLocaleString("sv");

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

// `measured` is [[time, value], ...] in the order of time.
const points = (measured, width, height, max) => {
  const from = measured[0][0];
  const all = measured.length === 1 ? [...measured, [from + 1, measured[0][1]]] : measured;
  const whole = all.at(-1)[0] - from || 1;
  return all.map(([at, value]) => `${(((at - from) / whole) * width).toFixed(1)},` +
    `${(height - (value / max) * (height - 2) - 1).toFixed(1)}`).join(" ");
};

// A small line without axes beside a number that says the same.
export function sparkline(measured) {
  return s("svg", { class: "spark", viewBox: "0 0 120 28", preserveAspectRatio: "none",
    "aria-hidden": "true" }, measured.length > 0 && s("polyline", { points: points(measured, 120, 28,
    Math.max(...measured.map((at) => at[1])) || 1) }));
}

// One line, with its largest value and how long ago it begins.
export function chart(title, measured, format, className) {
  const width = 600;
  const height = 140;
  const max = Math.max(...measured.map((at) => at[1]));
  return h("figure", { class: "chart" }, h("figcaption", {}, title),
    s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `${title}: at most ${format(max)}, now ${format(measured.at(-1)[1])}` },
    [0.25, 0.5, 0.75].map((part) => s("line", { class: "grid", x1: 0, x2: width,
      y1: height * part, y2: height * part })),
    s("polyline", { class: className, points: points(measured, width, height, max || 1) })),
    h("div", { class: "axis" }, h("span", {}, `${span(measured.at(-1)[0] - measured[0][0])} ago`),
      h("span", {}, `top: ${format(max)}`), h("span", {}, "now")));
}
