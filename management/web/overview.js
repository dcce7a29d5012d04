// SPDX-License-Identifier: Apache-2.0
// The broker at a glance: is it well, how much goes through it, what needs somebody.
import { badge, count, h, link, octets, plural, rate, Recent, replace, setText, span,
  sparkline } from "./dom.js";
import { get, may, part, watch } from "./api.js";
import { queueLink } from "./queues.js";

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
  return h("div", { class: `tile ${className || ""}` }, h("div", { class: "label" }, title),
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

const DAY_MS = 86400000;

// Against a day ago, or against when the broker began to count.
function change(letters) {
  const since = Date.now() - letters.before_ms;
  const sign = letters.now > letters.before ? "+" : letters.now < letters.before ? "−" : "±";
  return `${sign}${count(Math.abs(letters.now - letters.before))} in ` +
    (since > 0.98 * DAY_MS ? "24 h" : span(Math.max(1000, since)));
}

function certificateTile(certificates) {
  const [first] = [...certificates].sort((a, b) => a.ends_ms - b.ends_ms);
  const days = Math.floor((first.ends_ms - Date.now()) / DAY_MS);
  return tile("Certificate", days < 0 ? "Ended" : plural(days, "day"), days < 0 ?
    `of ${first.listener}` : `left, of ${first.listener}`, days < 14 ? "warn" : "");
}

function vitalTiles(vitals) {
  if (!vitals) return [];
  const flush = vitals.flush_p99_ms;
  return [tile("Flush p99", flush === null ? "–" : `≤ ${flush} ms`, flush === null ?
    "none lately" : "in the last minute", flush > 100 ? "warn" : ""),
  vitals.certificates.length > 0 && certificateTile(vitals.certificates)];
}

function tiles({ value, latest, letters, drift, node, vitals }) {
  const own = value.bourse;
  const totals = value.queue_totals;
  const objects = value.object_totals;
  const found = [...rates(),
    tile("Ready", count(totals.messages_ready), `in ${plural(objects.queues, "queue")}`),
    tile("Unacknowledged", count(totals.messages_unacknowledged),
      `with ${plural(objects.consumers, "consumer")}`)];
  if (may("see_all")) {
    found.push(tile("Oldest message", latest ? span(latest.oldest_ready_age_ms) : "–", "that is ready"));
  }
  if (letters) {
    const dead = letters.queues.reduce((sum, at) => sum + at.messages + (at.parked || 0), 0);
    found.push(tile("Dead letters", may("operate") ? link("#/dead-letters", count(dead)) :
      count(dead), vitals && vitals.dead_letters ? change(vitals.dead_letters) :
      `in ${plural(letters.queues.length, "queue")}`, dead > 0 ? "warn" : ""));
  }
  found.push(tile("Connections", count(objects.connections), plural(objects.channels, "channel")),
    tile("Memory", octets(own.memory_bytes), [bar(own.memory_bytes / own.memory_mark_bytes,
      "Memory used"), `of ${octets(own.memory_mark_bytes)}`]));
  if (node && node.disk_free > 0) {
    found.push(tile("Disk free", octets(node.disk_free), node.disk_free_limit > 0 &&
      `stops below ${octets(node.disk_free_limit)}`));
  }
  found.push(...vitalTiles(vitals));
  if (drift) {
    const changes = drift.reduce((sum, at) => sum + (at.count || 0), 0);
    found.push(tile("Drift", changes === 0 ? "None" : count(changes),
      changes === 0 ? "as the files say" : "beside the files", changes > 0 ? "warn" : ""));
  }
  return found;
}

// By kind: what the way is called, where it leads, and who may go there.
const WAYS = {
  unroutable: ["Explain a route", "routes", "look"],
  clients_blocked: ["See connections", "connections", "look"],
  connection_churn: ["See connections", "connections", "look"],
  topology_drift: ["Plan", "plan", "see_all"],
  reload_failed: ["Read the log", "log", "see_all"],
};

// Where the one thing to do is done.
function placeOf(item) {
  if (item.object !== "queue") {
    const [text, path, ability] = WAYS[item.kind] || [];
    const about = item.object === "exchange" &&
      `?vhost=${part(item.vhost)}&exchange=${part(item.name || "")}`;
    return text && may(ability) && link(`#/${path}${about || ""}`, text, { class: "button" });
  }
  const where = `${part(item.vhost)}/${part(item.name)}`;
  return item.kind === "dead_letters" && may("operate") ?
    link(`#/dead-letters/${where}`, "Triage and replay", { class: "button" }) :
    link(`#/queue/${where}`, "Look at the queue", { class: "button" });
}

// {severity, title, object, why, action, place} of what the broker says.
const readNeeds = (value) => value.items.map((item) => ({ severity: item.severity,
  title: item.what, why: item.why, action: item.action, place: placeOf(item),
  object: item.object === "queue" ? queueLink(item.vhost, item.name)
    : item.name === undefined ? "" : `${item.object} ${item.name || "(default)"}` }));

const WORDS = { critical: "Critical", warning: "Warning", info: "Note" };
const KINDS = { critical: "bad", warning: "warn", info: "" };

function attention(items) {
  if (items.length === 0) return h("p", { class: "quiet calm" }, "Nothing needs attention.");
  return h("ul", { class: "needs" }, items.map((item) => h("li", { class: KINDS[item.severity] },
    badge(WORDS[item.severity] || item.severity, KINDS[item.severity]),
    h("div", { class: "grow" }, item.object && [item.object, ": "],
      h("strong", {}, item.title), h("p", {}, item.why),
      h("p", { class: "todo" }, item.action)), item.place)));
}

export function overview(main) {
  const line = h("p", { class: "health", role: "status" }, "…");
  const grid = h("div", { class: "tiles" });
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  const about = h("p", { class: "quiet" });
  const seen = {};
  let items = [];
  replace(main, h("h1", { class: "hidden" }, "Overview"), line, grid,
    h("h2", {}, "Needs attention"), list, about);

  function draw() {
    const last = seen.value;
    if (last === undefined) return;
    const [kind, words] = health(last, items);
    line.className = `health ${kind}`;
    setText(line, words);
    replace(grid, tiles(seen));
    setText(about, `Bourse ${last.product_version} on ${last.node}, up for ` +
      `${span(last.bourse.uptime_ms)}`);
  }

  const note = (name, read = (answer) => answer) => (answer) => {
    seen[name] = read(answer);
    draw();
  };
  const paths = ["/api/overview", "/api/bourse/attention", "/api/bourse/dead-letters"];
  let shown = "";
  const listeners = [note("value", (answer) => {
    measure(answer.message_stats, performance.now());
    return answer;
  }), (answer) => {
    const text = JSON.stringify(answer.items);
    if (text === shown) return;
    shown = text;
    items = readNeeds(answer);
    replace(list, attention(items));
    draw();
  }, note("letters")];
  if (may("see_all")) {
    paths.push("/api/bourse/history", "/api/bourse/vitals");
    listeners.push(note("latest", (answer) => {
      remember(answer.points);
      return answer.points.at(-1);
    }), note("vitals"));
    get("/api/nodes").then(note("node", (answer) => answer[0]), () => {});
    get("/api/bourse/drift").then(note("drift"), () => {});
  }
  return watch(paths, listeners, (error, i) => {
    if (i === 0) { line.className = "health bad"; setText(line, error.message); }
  });
}
