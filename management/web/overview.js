// SPDX-License-Identifier: Apache-2.0
// The broker at a glance: is it well, how much goes through it, what needs somebody.
import { badge, count, h, link, octets, plural, rate, replace, setText, span } from "./dom.js";
import { get, has, may, watch } from "./api.js";
import { Recent, sparkline } from "./chart.js";
import { needs } from "./attention.js";

const KEPT = 600;
// What was measured outlives the page: coming back shows the same lines.
const recent = { publish: new Recent(KEPT), deliver_get: new Recent(KEPT),
  confirm: new Recent(KEPT), ack: new Recent(KEPT) };
let before = null;

// Rates out of counters: what happened between two looks.
function measure(stats, now) {
  if (before !== null && now - before.now < 200) return;
  for (const name of Object.keys(recent)) {
    const value = stats[name] || 0;
    if (before !== null && value >= before.values[name]) {
      recent[name].push(((value - before.values[name]) * 1000) / (now - before.now));
    }
  }
  before = { now, values: Object.fromEntries(Object.keys(recent).map((name) =>
    [name, stats[name] || 0])) };
}

// The broker knows the last ten minutes; what this page has seen comes behind.
const MEASURED = { publish: "published_rate", deliver_get: "delivered_rate",
  confirm: "confirmed_rate", ack: "acked_rate" };
let remembers = false;

function remember(points) {
  if (remembers) return;
  remembers = true;
  for (const [name, from] of Object.entries(MEASURED)) {
    recent[name].values.unshift(...points.map((point) => point[from]));
  }
}

function health(value, items) {
  const own = value.bourse;
  if (own.memory_alarm) return ["bad", "Publishers are held back: memory is at its limit."];
  if (own.disk_alarm) return ["bad", "Publishers are held back: the disk is nearly full."];
  if (own.memory_bytes > own.memory_mark_bytes * 0.8) {
    return ["warn", "All is running, but memory is near its limit."];
  }
  const urgent = items.filter((item) => item.severity !== "info").length;
  if (urgent > 0) {
    return [items.some((item) => KINDS[item.severity] === "bad") ? "bad" : "warn",
      `The broker runs; ${urgent === 1 ? "one thing needs" : `${urgent} things need`} attention.`];
  }
  return ["good", "All is well: publishers and consumers are served."];
}

function tile(title, value, more, className) {
  return h("div", { class: `tile ${className || ""}` }, h("h3", {}, title),
    h("div", { class: "big" }, value), more && h("div", { class: "more" }, more));
}

function bar(part, label) {
  const used = Math.min(1, Math.max(0, part || 0));
  const meter = h("meter", { min: 0, max: 1, low: 0.7, high: 0.85, optimum: 0, value: used,
    "aria-label": label });
  return meter;
}

function rates() {
  const names = [["publish", "In"], ["deliver_get", "Out"], ["confirm", "Confirmed"],
    ["ack", "Acknowledged"]];
  return names.map(([name, title]) => {
    const values = recent[name].values;
    const lately = values.slice(-5);
    const mean = lately.length === 0 ? 0 : lately.reduce((a, b) => a + b, 0) / lately.length;
    return tile(title, rate(mean), sparkline(values));
  });
}

function tiles(value, latest, letters, drift, node) {
  const own = value.bourse;
  const totals = value.queue_totals;
  const objects = value.object_totals;
  const found = [...rates(),
    tile("Ready", count(totals.messages_ready), `in ${plural(objects.queues, "queue")}`),
    tile("Unacknowledged", count(totals.messages_unacknowledged),
      `with ${plural(objects.consumers, "consumer")}`)];
  if (latest) found.push(tile("Oldest message", span(latest.oldest_ready_age_ms)));
  if (letters) {
    const dead = letters.queues.reduce((sum, at) => sum + at.messages + (at.parked || 0), 0);
    found.push(tile("Dead letters", may("operate") ? link("#/dead-letters", count(dead)) :
      count(dead), `in ${plural(letters.queues.length, "queue")}`, dead > 0 ? "warn" : ""));
  }
  found.push(tile("Connections", count(objects.connections), plural(objects.channels, "channel")));
  found.push(tile("Memory", octets(own.memory_bytes), [bar(own.memory_bytes / own.memory_mark_bytes,
    "Memory used"), `of ${octets(own.memory_mark_bytes)}`]));
  if (node && node.disk_free > 0) {
    found.push(tile("Disk free", octets(node.disk_free), node.disk_free_limit > 0 &&
      `publishers wait below ${octets(node.disk_free_limit)}`));
  }
  if (drift) {
    const changes = drift.reduce((sum, at) => sum + (at.count || 0), 0);
    found.push(tile("Drift", changes === 0 ? "None" : count(changes),
      changes === 0 ? "as the files say" : "changed beside the files", changes > 0 ? "warn" : ""));
  }
  return found;
}

const WORDS = { critical: "Critical", error: "Critical", warning: "Warning", info: "Note" };
const KINDS = { critical: "bad", error: "bad", warning: "warn", info: "" };

function attention(items) {
  if (items.length === 0) return h("p", { class: "quiet calm" }, "Nothing needs attention.");
  return h("ul", { class: "needs" }, items.map((item) => h("li", { class: KINDS[item.severity] },
    badge(WORDS[item.severity] || item.severity, KINDS[item.severity]),
    h("div", {}, item.object && [item.object, ": "],
      h("strong", {}, item.title), h("p", {}, item.why),
      h("p", { class: "todo" }, item.action)))));
}

export function overview(main) {
  const line = h("p", { class: "health", role: "status" }, "…");
  const grid = h("div", { class: "tiles" });
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  const about = h("p", { class: "quiet" });
  let latest = null;
  let letters = null;
  let drift = null;
  let node = null;
  let last = null;
  let items = [];
  replace(main, h("h1", { class: "hidden" }, "Overview"), line, grid,
    h("h2", {}, "Needs attention"), list, about);

  function draw() {
    if (last === null) return;
    const [kind, words] = health(last, items);
    line.className = `health ${kind}`;
    setText(line, words);
    replace(grid, tiles(last, latest, letters, drift, node));
    setText(about, `Bourse ${last.product_version} on ${last.node}, up for ` +
      `${span(last.bourse.uptime_ms)}`);
  }

  const paths = ["/api/overview"];
  const listeners = [(value) => {
    measure(value.message_stats, performance.now());
    last = value;
    draw();
  }];
  let shown = "";
  const question = needs();
  paths.push(question.path);
  listeners.push((value) => {
    const text = JSON.stringify(value);
    if (text === shown) return;
    shown = text;
    items = question.read(value);
    replace(list, attention(items));
    draw();
  });
  if (has("GET /api/bourse/dead-letters")) {
    paths.push("/api/bourse/dead-letters");
    listeners.push((value) => { letters = value; draw(); });
  }
  if (may("see_all") && has("GET /api/bourse/history")) {
    paths.push("/api/bourse/history");
    listeners.push((value) => {
      latest = value.points.at(-1);
      remember(value.points);
    });
  }
  if (may("see_all") && has("GET /api/nodes")) {
    get("/api/nodes").then((value) => { node = value[0]; draw(); }, () => {});
  }
  if (may("see_all") && has("GET /api/bourse/drift")) {
    get("/api/bourse/drift").then((value) => { drift = value; draw(); }, () => {});
  }
  return watch(paths, listeners, (error, i) => {
    if (i === 0) { line.className = "health bad"; setText(line, error.message); }
  });
}
