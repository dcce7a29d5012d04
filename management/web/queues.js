// SPDX-License-Identifier: Apache-2.0
// All queues, and one: how it is, what it is set to and by whom, who consumes, what is in it.
import { act, badge, button, chart, confirm, count, definitions, dialog, field, h, json, link,
  notice, octets, rate, refresh, replace, setText, span, table, time } from "./dom.js";
import { liveList } from "./table.js";
import { ask, deskPath, get, may, part, query, queuePath, watch } from "./api.js";

export const queueHash = (vhost, name) => `#/queue/${part(vhost)}/${part(name)}`;
export const queueLink = (vhost, name) => link(queueHash(vhost, name), name || "(no name)",
  { title: name });

function change(queue) {
  return queue.messages_details ? queue.messages_details.rate : 0;
}

// One word or two for how a queue is, and how loud to say it.
function stateOf(queue) {
  const own = queue.bourse || {};
  if (own.paused || queue.state === "paused") return ["paused", "warn"];
  if (queue.messages_ready > 0 && queue.consumers === 0) {
    return ["no consumer", change(queue) > 0.5 ? "bad" : "warn"];
  }
  if (change(queue) > 0.5 && queue.messages_ready > 100) return ["growing", "warn"];
  if (change(queue) < -0.5 && queue.messages_ready > 0) return ["draining", "good"];
  if (queue.messages > 0) return ["busy", "good"];
  return own.arrival_rate > 0 ? ["flowing", "good"] : ["idle", ""];
}

function trend(queue) {
  const rate = change(queue);
  return rate > 0.5 ? "↗" : rate < -0.5 ? "↘" : "→";
}

// The worst that the broker says of one queue, or nothing; it says the worst first.
const needOf = (value, vhost, name) => value.items.find((item) =>
  item.object === "queue" && item.vhost === vhost && item.name === name);

const stat = (queue, name) => queue.message_stats && queue.message_stats[`${name}_details`] ?
  queue.message_stats[`${name}_details`].rate : 0;

const COLUMNS = [
  { title: "Queue", sort: "name", className: "wide", cell: (queue) =>
    [queueLink(queue.vhost, queue.name), h("small", {}, ` ${queue.vhost}`)] },
  { title: "State", className: "state", cell: (queue) => badge(...stateOf(queue)) },
  { title: "Ready", sort: "messages_ready", className: "number", cell: (queue) =>
    [count(queue.messages_ready), h("span", { class: "trend", "aria-hidden": "true" },
      ` ${trend(queue)}`)] },
  { title: "Trend", sort: "messages_details.rate", className: "number w2", cell: (queue) =>
    (change(queue) > 0 ? "+" : "") + rate(change(queue)) },
  { title: "Unacked", sort: "messages_unacknowledged", className: "number w2", cell: (queue) =>
    count(queue.messages_unacknowledged) },
  { title: "Oldest", sort: "bourse.oldest_ready_age_ms", className: "number w1", cell: (queue) =>
    span(queue.bourse.oldest_ready_age_ms) },
  { title: "In", sort: "message_stats.publish_details.rate", className: "number w2", cell: (queue) =>
    rate(stat(queue, "publish")) },
  { title: "Out", sort: "message_stats.deliver_get_details.rate", className: "number w2",
    cell: (queue) => rate(stat(queue, "deliver_get")) },
  { title: "Consumers", sort: "consumers", className: "number w2", cell: (queue) =>
    count(queue.consumers) },
];

export function queues(main, words, parameters) {
  const list = liveList({ path: "/api/queues", columns: COLUMNS, caption: "Queues", noun: "queue",
    sort: parameters.get("sort") || "messages_ready", reverse: true, fixed: {
      columns: "name,vhost,state,messages,messages_ready,messages_unacknowledged," +
        "messages_details,consumers,message_stats,bourse" },
    empty: "There is no queue that you may see." });
  replace(main, h("div", { class: "row" }, h("h1", {}, "Queues"), list.search), list.element);
  return list.stop;
}

// "shop.yaml, line 12": of the one with that name, where the files in force have it.
const at = (marks, name) => {
  const mark = (marks || []).find((each) => each.name === name);
  return mark ? `${mark.file}, line ${mark.line}` : "";
};

function policyPlace(queue, sources, name) {
  const words = [];
  for (const [policy, isOperator] of [[queue.policy, false], [queue.operator_policy, true]]) {
    if (!policy) continue;
    const found = sources.policies.find((each) =>
      each.name === policy && each.is_operator === isOperator);
    const place = found && at(found.keys, name);
    if (found && !place) continue;
    words.push(`${isOperator ? "operator policy" : "policy"} ${policy}${place && ` (${place})`}`);
  }
  return words.join(" and ") || "policy";
}

function argumentPlace(queue, sources, name) {
  if (!queue.bourse.from_file) return "argument of the declaration";
  return at(sources.queue && sources.queue.arguments, name) || (sources.queue ?
    `default of ${sources.queue.file}, line ${sources.queue.line}` : "topology file");
}

// Which of argument, policy and operator policy each setting comes from. Where both policies give a
// number the lower one is in force; an argument and a policy of the same name likewise.
function settings(queue, sources) {
  const rows = [];
  const policy = queue.effective_policy_definition || {};
  for (const [name, value] of Object.entries(queue.arguments || {})) {
    const rival = policy[name.replace(/^x-/, "")];
    const isBeaten = typeof rival === "number" && typeof value === "number" && rival < value;
    rows.push([name, JSON.stringify(value), argumentPlace(queue, sources, name),
      isBeaten ? "a policy is stricter" : ""]);
  }
  for (const [name, value] of Object.entries(policy)) {
    const rival = (queue.arguments || {})[`x-${name}`];
    const isBeaten = rival !== undefined && !(typeof rival === "number" &&
      typeof value === "number" && value < rival);
    rows.push([name, JSON.stringify(value), policyPlace(queue, sources, name),
      isBeaten ? "the argument is in force" : ""]);
  }
  return rows;
}

// In words: what the broker says is wrong, and what became of what died here.
function verdict(queue, need, letters) {
  const died = Object.entries(queue.bourse.died).filter(([, each]) => each > 0);
  const places = letters.filter((each) => each.vhost === queue.vhost && each.queue !== queue.name &&
    each.messages > 0);
  const where = places.length === 1 ?
    `#/dead-letters/${part(queue.vhost)}/${part(places[0].queue)}` : "#/dead-letters";
  return [need && h("div", { class: `health ${need.severity === "critical" ? "bad" : "warn"}` },
    h("strong", {}, need.what), h("p", {}, `Why: ${need.why}`), h("p", { class: "todo" },
      need.action)),
  died.length > 0 && h("p", { class: "row" }, `Died here since the broker started: ` +
    `${died.map(([reason, each]) => `${count(each)} ${reason.replace("_", " ")}`).join(", ")}.`,
  may("operate") && places.length > 0 && link(where, "See these dead letters", { class: "button" }))];
}

function facts(queue) {
  const own = queue.bourse;
  const waiting = own.messages_delayed + own.messages_retrying;
  return definitions([
    ["Ready", count(queue.messages_ready)],
    ["Unacknowledged", count(queue.messages_unacknowledged)],
    ["Oldest ready", span(own.oldest_ready_age_ms)],
    ["In", rate(stat(queue, "publish"))],
    ["Out", rate(stat(queue, "deliver_get"))],
    ["Acknowledged", rate(stat(queue, "ack"))],
    ["Consumers", count(queue.consumers)],
    queue.messages_ready > 0 && ["Empty in", own.time_to_drain_ms === null ?
      "never at this pace" : span(own.time_to_drain_ms)],
    waiting > 0 && ["Delayed or to be tried again", count(waiting)],
    own.messages_quarantined > 0 && ["In quarantine", count(own.messages_quarantined)],
    ["Size", octets(queue.message_bytes)],
    ["Kind", [queue.type, queue.durable ? "durable" : "not durable",
      queue.exclusive && "exclusive", queue.auto_delete && "deletes itself"]
      .filter(Boolean).join(", ")],
  ]);
}

function consumers(queue) {
  return table("Consumers", ["Consumer", "Connection", "User|w2", "Prefetch|number", "Active"],
    (queue.consumer_details || []).map((consumer) => [consumer.consumer_tag,
      consumer.channel_details.connection_name, consumer.channel_details.user,
      consumer.prefetch_count || "no limit",
      consumer.active ? "yes" : "waits"]), "Nobody consumes from this queue.");
}

// Messages, without touching them -------------------------------------------------------------

const VIEWS = [["text", "Text"], ["json", "JSON"], ["hex", "Hex"]];

function bytesOf(message) {
  if (message.payload_encoding !== "base64") return new TextEncoder().encode(message.payload);
  return Uint8Array.from(atob(message.payload), (c) => c.charCodeAt(0));
}

function hex(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, 4096); at += 16) {
    const line = [...bytes.slice(at, at + 16)];
    lines.push(`${at.toString(16).padStart(6, "0")}  ` +
      `${line.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(47)}  ` +
      line.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
  }
  return lines.join("\n");
}

// Indented as it is: not every number would be the same after reading it. Deep ones go no further right.
function indent(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  JSON.parse(text);
  return text.replace(/"(?:[^"\\]|\\.)*"|\s+|([[{])(?:\s*[\]}])?|[\]},:]/g, (at, opens) => {
    if (opens && at === opens) depth++;
    if (at === "]" || at === "}") depth--;
    return at.trim() === "" ? "" : at === ":" ? ": " : at === opens || at === "," ? at + line() :
      at === "]" || at === "}" ? line() + at : at;
  });
}

function render(message, view) {
  const bytes = bytesOf(message);
  const text = new TextDecoder().decode(bytes);
  if (view === "hex") return hex(bytes);
  if (view === "json") {
    try { return indent(text); } catch { return "This is no JSON, or not all of it."; }
  }
  return text;
}

export function messageView(message) {
  const isUnreadable = message.unreadable;
  const body = h("pre", { tabindex: "0" });
  const show = (view) => setText(body, render(message, view));
  const views = h("div", { class: "row tight", role: "group", "aria-label": "Show the body as" },
    VIEWS.map(([view, title]) => button(title, () => show(view), { class: "small" })));
  if (!isUnreadable) show(message.payload_encoding === "base64" ? "hex" : "text");
  return h("div", { class: "message" }, definitions([
    ["Exchange", message.exchange || "(default)"],
    ["Routing key", message.routing_key],
    message.origin_queue && ["Came from", message.origin_queue],
    message.reason && ["Died because", message.reason],
    message.error_class && ["Error", message.error_class],
    message.failures > 0 && ["Failures", message.failures],
    message.replay_batch && ["Replayed as", message.replay_batch],
    ["Age", span(message.age_ms)],
    message.arrival_ms && ["Arrived", time(message.arrival_ms)],
    ["Size", octets(message.payload_bytes)]]),
  isUnreadable ? h("p", { class: "trouble" }, "The content cannot be read.") : [
    h("div", { class: "label" }, "Properties"), json(message.properties),
    h("div", { class: "row" }, h("div", { class: "label" },
      message.payload_truncated ? "Body, its beginning" : "Body"), views), body]);
}

function messageList(messages, choose) {
  return messages.map((message) => h("details", { class: "one" },
    h("summary", {}, choose && h("input", { type: "checkbox", "aria-label": `Choose ${message.id}`,
      onchange: (event) => choose(message.id, event.target.checked) }), " ",
    h("code", {}, message.id), " ", badge(message.place), " ",
    h("span", {}, message.routing_key || message.exchange || ""), " ",
    h("small", {}, `${octets(message.payload_bytes)}, ${span(message.age_ms)} old`)),
    messageView(message)));
}

// `onChosen` is told the ids of the messages that are ticked; without it none can be.
export function peekBox(vhost, name, onChosen) {
  const list = h("div", {});
  const ids = new Set();
  const size = h("input", { type: "number", min: 1, max: 50, value: 10, class: "short",
    "aria-label": "How many messages" });
  let next = null;
  const choose = onChosen && ((id, isChosen) => {
    ids[isChosen ? "add" : "delete"](id);
    onChosen([...ids]);
  });
  const load = async (isMore) => {
    const answer = await get(deskPath(vhost, name, "peek") + query({
      count: Math.min(50, Math.max(1, Number(size.value) || 10)), after: isMore ? next : "" }));
    next = answer.next;
    if (!isMore) {
      replace(list);
      ids.clear();
      if (onChosen) onChosen([]);
    }
    list.append(...messageList(answer.messages, choose));
    if (list.childElementCount === 0) replace(list, h("p", { class: "quiet" }, "There are none."));
    more.hidden = next === null;
  };
  const go = button("Look", () => act(go, () => load(false)), { class: "primary" });
  const more = button("More", () => act(more, () => load(true)), { hidden: true });
  return h("div", {}, h("div", { class: "row" }, size, go), list, more);
}

const HOUR_MS = 3600000;

// Actions --------------------------------------------------------------------------------------

function noteDialog(title, text, label, action) {
  dialog(title, (close) => {
    const note = h("input", { maxlength: 200 });
    const go = button(label, () => act(go, async () => { await action(note.value); close(); }),
      { class: "primary" });
    return h("div", {}, h("p", {}, text), field("Note for the audit", note),
      h("div", { class: "row end" }, button("Cancel", close), go));
  });
}

function actions(vhost, name, isPaused) {
  if (!may("operate")) return [];
  const made = [];
  if (!isPaused()) {
    made.push(button("Pause", () => noteDialog("Pause this queue?",
      "Messages go on coming in; none is delivered until you resume it.", "Pause", async (note) => {
        await ask("POST", deskPath(vhost, name, "pause"), { note });
        notice("The queue is paused.");
      })));
  }
  if (isPaused()) {
    made.push(button("Resume", () => noteDialog("Resume this queue?",
      "What waits is delivered again.", "Resume", async (note) => {
        await ask("POST", deskPath(vhost, name, "resume"), { note });
        notice("The queue is delivered again.");
      }), { class: "primary" }));
  }
  made.push(button("Purge", () => confirm("Purge this queue?",
    "All messages that are ready are gone for good.", "Purge", async () => {
      await ask("DELETE", `${queuePath(vhost, name)}/contents`);
      notice("The queue was purged.");
    }, name), { class: "danger" }),
  link(`#/dead-letters/${part(vhost)}/${part(name)}`, "Triage and replay", { class: "button" }));
  return made;
}

export function queue(main, [vhost, name]) {
  const state = h("span", {});
  const buttons = h("div", { class: "row" });
  const charts = h("div", { class: "charts" });
  const now = h("div", {}, h("p", { class: "quiet" }, "…"));
  const who = h("div", {});
  const set = h("div", {});
  const wrong = h("div", {});
  const bindings = h("div", {});
  let isPaused = null;
  let past = [];   // points of the last hour, as the broker remembers them
  let lately = []; // what came behind them
  let last = null;
  let need = null;
  let found = [];
  let sources = { queue: null, policies: [] };
  replace(main, h("p", { class: "crumbs" }, link("#/queues", "Queues"), ` in vhost ${vhost}`),
    h("div", { class: "row" }, h("h1", {}, name || "(no name)"), state, buttons), wrong, now, charts,
    h("h2", {}, "Consumers"), who, h("h2", {}, "Settings, and where they come from"), set,
    h("h2", {}, "Bindings"), bindings,
    may("operate") && [h("h2", {}, "Messages"),
      h("p", { class: "quiet" }, "Looking changes nothing: order and marks stay as they are."),
      peekBox(vhost, name)]);

  function explain() {
    if (last === null) return;
    refresh(wrong, verdict(last, need, found));
    refresh(who, consumers(last));
    refresh(set, table("Settings", ["Setting", "Value", "Comes from", "Note|w2"],
      settings(last, sources), "Nothing is set beside the defaults."));
  }

  function draw(queue) {
    const paused = stateOf(queue)[0] === "paused";
    last = queue;
    refresh(state, badge(...stateOf(queue)));
    refresh(now, facts(queue));
    if (paused !== isPaused) {
      isPaused = paused;
      replace(buttons, actions(vhost, name, () => isPaused));
    }
    explain();
  }

  // By the broker's clock, which is told with what needs attention.
  function drawCharts(at_ms) {
    lately = [...lately.filter((point) => point.at_ms > (past.at(-1)?.at_ms || at_ms - HOUR_MS)),
      { at_ms, ready: last.messages_ready, oldest_ready_age_ms: last.bourse.oldest_ready_age_ms }];
    const line = (value) => [...past, ...lately].map((point) => [point.at_ms, point[value] || 0]);
    refresh(charts, chart("Messages ready", line("ready"), count, "c1"),
      chart("Age of the oldest", line("oldest_ready_age_ms"), span, "c2"));
  }

  get(`${queuePath(vhost, name)}/bindings`).then((found) => {
    replace(bindings, table("Bindings", ["From", "Routing key", "Arguments"], found.map((binding) =>
      [binding.source || "(default exchange)", binding.routing_key,
        Object.keys(binding.arguments).length > 0 ? JSON.stringify(binding.arguments) : ""])));
  }, (error) => replace(bindings, h("p", { class: "quiet" }, error.message)));
  get(`/api/bourse/sources/${part(vhost)}/${part(name)}`).then((value) => {
    sources = value;
    explain();
  }, () => {});
  return watch([queuePath(vhost, name), "/api/bourse/attention", "/api/bourse/dead-letters",
    `/api/bourse/history/${part(vhost)}/${part(name)}`], [draw, (value) => {
    need = needOf(value, vhost, name);
    if (last !== null) drawCharts(value.checked_ms);
    explain();
  }, (value) => { found = value.queues; explain(); }, (value) => { past = value.points; }],
  (error, i) => {
    if (i !== 0 || error.status === 0) return;
    last = isPaused = null;
    [state, buttons, charts, wrong].forEach((each) => replace(each));
    replace(now, h("p", { class: "trouble" }, error.message === "Not Found" ? "There is no such queue." :
      error.message));
  });
}
