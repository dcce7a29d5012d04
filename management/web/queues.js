// SPDX-License-Identifier: Apache-2.0
// All queues.
import { badge, count, h, rate, replace, span } from "./dom.js";
import { queueLink, stateOf, trend } from "./attention.js";
import { liveList } from "./table.js";

const stat = (queue, name) => queue.message_stats && queue.message_stats[`${name}_details`] ?
  queue.message_stats[`${name}_details`].rate : 0;

const COLUMNS = [
  { title: "Queue", sort: "name", className: "wide", cell: (queue) =>
    [queueLink(queue.vhost, queue.name), h("small", {}, ` ${queue.vhost}`)] },
  { title: "State", className: "state", cell: (queue) => badge(...stateOf(queue)) },
  { title: "Ready", sort: "messages_ready", className: "number", cell: (queue) =>
    [count(queue.messages_ready), h("span", { class: "trend", "aria-hidden": "true" },
      ` ${trend(queue)}`)] },
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
  let typing = 0;
  const filter = h("input", { type: "search", placeholder: "A part of the name",
    "aria-label": "Filter by name", oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => list.filter(filter.value), 150);
    } });
  replace(main, h("div", { class: "row" }, h("h1", {}, "Queues"), filter), list.element);
  return list.stop;
}
