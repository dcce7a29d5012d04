// SPDX-License-Identifier: Apache-2.0
// The broker at a glance: is it well, how much goes through it, what needs somebody.
import { badge, count, h, link, octets, plural, rate, refresh, replace, setText, span,
  sparkline } from "./dom.js";
import { may, part, watch } from "./api.js";
import { queueLink } from "./queues.js";

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

// What is counted, what it is called, and what its past is called.
const RATES = [["publish", "In", "published_rate"], ["deliver_get", "Out", "delivered_rate"],
  ["confirm", "Confirmed", "confirmed_rate"], ["ack", "Acknowledged", "acked_rate"]];

// The mean of the last five seconds, so that what comes now and then is not nothing most of the time.
const rates = (lately, points) => RATES.map(([name, title, past]) => tile(title,
  rate(lately.reduce((sum, stats) => sum + (stats[`${name}_details`]?.rate || 0), 0) / lately.length),
  sparkline(points.map((at) => [at.at_ms, at[past]]))));

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

function tiles({ value, lately, points = [], letters, node, vitals, drift }) {
  const own = value.bourse;
  const totals = value.queue_totals;
  const objects = value.object_totals;
  const oldest = points.at(-1)?.oldest_ready_age_ms;
  const found = [...rates(lately, points),
    tile("Ready", count(totals.messages_ready), `in ${plural(objects.queues, "queue")}`),
    tile("Unacknowledged", count(totals.messages_unacknowledged),
      `with ${plural(objects.consumers, "consumer")}`)];
  if (may("see_all")) {
    found.push(tile("Oldest message", oldest ? span(oldest) : "–",
      totals.messages_ready > 0 ? "that is ready" : "none is ready"));
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
  if (may("see_all")) {
    found.push(tile("Drift", drift ? count(drift) : "None", drift ? "beside the files" :
      "as the files say", drift && "warn"));
  }
  return found;
}

// By kind: what the way is called, where it leads, and who may go there.
const WAYS = {
  memory_alarm: ["See the queues", "queues", "look"],
  unroutable: ["Explain a route", "routes", "look"],
  clients_blocked: ["See connections", "connections", "look"],
  connection_churn: ["See connections", "connections", "look"],
  topology_drift: ["See what differs", "plan", "see_all"],
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

const NEEDS_MAX = 100;

function attention(items) {
  if (items.length === 0) return h("p", { class: "quiet calm" }, "Nothing needs attention.");
  return h("ul", { class: "needs" }, items.slice(0, NEEDS_MAX).map((item) => h("li", { class: KINDS[item.severity] },
    badge(WORDS[item.severity] || item.severity, KINDS[item.severity]),
    h("div", { class: "grow" }, item.object && [item.object, ": "],
      h("strong", {}, item.title), h("p", {}, item.why),
      h("p", { class: "todo" }, item.action)), item.place)), items.length > NEEDS_MAX && h("li", {},
    `and ${count(items.length - NEEDS_MAX)} more, none of them worse`));
}

export function overview(main) {
  const line = h("p", { class: "health", role: "status" }, "…");
  const grid = h("div", { class: "tiles" });
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  const about = h("p", { class: "quiet" });
  const seen = { lately: [] };
  let items = [];
  replace(main, h("h1", { class: "hidden" }, "Overview"), line, grid,
    h("h2", {}, "Needs attention"), list, about);

  function draw() {
    const last = seen.value;
    if (last === undefined) return;
    const [kind, words] = health(last, items);
    line.className = `health ${kind}`;
    setText(line, words);
    refresh(grid, tiles(seen));
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
    seen.lately = [...seen.lately.slice(-4), answer.message_stats];
    return answer;
  }), (answer) => {
    const text = JSON.stringify(answer.items);
    if (text === shown) return;
    shown = text;
    items = readNeeds(answer);
    seen.drift = answer.items.reduce((sum, item) =>
      item.kind === "topology_drift" ? sum + item.value : sum, 0);
    refresh(list, attention(items));
    draw();
  }, note("letters")];
  if (may("see_all")) {
    paths.push("/api/bourse/history", "/api/bourse/vitals", "/api/nodes");
    listeners.push(note("points", (answer) => answer.points), note("vitals"),
      note("node", (answer) => answer[0]));
  }
  return watch(paths, listeners, (error, i) => {
    if (i === 0) { line.className = "health bad"; setText(line, error.message); }
  });
}
