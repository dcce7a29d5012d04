// SPDX-License-Identifier: Apache-2.0
// What needs somebody, as the broker says, and how a queue is in a word.
import { link } from "./dom.js";
import { may, part } from "./api.js";

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

const ORDER = { critical: 0, warning: 1, info: 2 };
const isAbout = (item, vhost, name) =>
  item.object === "queue" && item.vhost === vhost && item.name === name;

// Where the one thing to do is done.
function placeOf(item) {
  if (item.object !== "queue") return null;
  const where = `${part(item.vhost)}/${part(item.name)}`;
  return item.kind === "dead_letters" && may("operate") ?
    link(`#/dead-letters/${where}`, "Triage and replay", { class: "button" }) :
    link(`#/queue/${where}`, "Look at the queue", { class: "button" });
}

// {severity, title, object, why, action, place} of what the broker says.
export const readNeeds = (value) => value.items.map((item) => ({ severity: item.severity,
  title: item.what, why: item.why, action: item.action, place: placeOf(item),
  object: item.object === "queue" ? queueLink(item.vhost, item.name)
    : item.name === undefined ? "" : `${item.object} ${item.name || "(default)"}` }));

// The worst that the broker says of one queue, or nothing.
export const needOf = (value, vhost, name) => value.items.filter((item) =>
  isAbout(item, vhost, name)).sort((a, b) => ORDER[a.severity] - ORDER[b.severity])[0];
