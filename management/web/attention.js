// SPDX-License-Identifier: Apache-2.0
// What needs somebody: as the broker says, or, from one that does not say, out of its longest
// queues.
import { count, link, span } from "./dom.js";
import { has, part, query } from "./api.js";

export const queueHash = (vhost, name) => `#/queue/${part(vhost)}/${part(name)}`;
export const queueLink = (vhost, name) => link(queueHash(vhost, name), name || "(no name)");

function change(queue) {
  return queue.messages_details ? queue.messages_details.rate : 0;
}

// One word or two for how a queue is, and how loud to say it.
export function stateOf(queue) {
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

export function trend(queue) {
  const rate = change(queue);
  return rate > 0.5 ? "↗" : rate < -0.5 ? "↘" : "→";
}

// Why, with what it is about, and one thing to do.
function judge(queue) {
  const [state, kind] = stateOf(queue);
  const own = queue.bourse || {};
  const age = own.oldest_ready_age_ms ? `, the oldest for ${span(own.oldest_ready_age_ms)}` : "";
  const base = { object: queueLink(queue.vhost, queue.name) };
  if (state === "no consumer" && !isForTheDead(queue)) {
    return { ...base, severity: kind === "bad" ? "critical" : "warning",
      title: kind === "bad" ? "grows, and nobody consumes" : "nobody consumes",
      why: `${count(queue.messages_ready)} messages wait${age}.`,
      action: "Start a consumer for this queue, or look what the messages are." };
  }
  if (state === "growing") {
    return { ...base, severity: "warning", title: "grows",
      why: `${count(queue.messages_ready)} messages wait${age}; more come than ` +
        `${queue.consumers} consumers take.`,
      action: "Add consumers, or see whether one of them is stuck." };
  }
  if (own.messages_quarantined > 0) {
    return { ...base, severity: "warning", title: "messages in quarantine",
      why: `${count(own.messages_quarantined)} messages failed too often.`,
      action: "Look at them in the dead-letter desk, mend the cause, and replay them." };
  }
  if (state === "paused") {
    return { ...base, severity: "info", title: "is paused",
      why: `Nothing is delivered; ${count(queue.messages_ready)} messages wait.`,
      action: "Resume it when what was wrong is mended." };
  }
  return null;
}

function isForTheDead(queue) {
  return /dead|dlq|dlx|parking/i.test(queue.name);
}

const ORDER = { critical: 0, error: 0, warning: 1, info: 2 };
const bySeverity = (a, b) => (ORDER[a.severity] ?? 3) - (ORDER[b.severity] ?? 3);

function fromBroker(value) {
  return value.items.map((item) => ({ severity: item.severity, title: item.what, why: item.why,
    action: item.action, object: item.object === "queue" ? queueLink(item.vhost, item.name)
      : item.name === undefined ? "" : `${item.object} ${item.name || "(default)"}` }));
}

// {path, read(answer) -> [{severity, title, object, why, action}]}
export function needs() {
  if (has("GET /api/bourse/attention")) {
    return { path: "/api/bourse/attention", read: fromBroker };
  }
  return {
    path: "/api/queues" + query({ page: 1, page_size: 50, sort: "messages_ready",
      sort_reverse: "true", columns: "name,vhost,messages,messages_ready,messages_details," +
        "consumers,state,bourse" }),
    read: (value) => value.items.map(judge).filter((item) => item !== null).sort(bySeverity),
  };
}
