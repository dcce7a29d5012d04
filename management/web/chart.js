// SPDX-License-Identifier: Apache-2.0
// Lines over time, as SVG.
import { h, s } from "./dom.js";

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
