// SPDX-License-Identifier: Apache-2.0
// Where messages go: the route explainer, and the topology as a picture.
import { act, badge, button, count, field, h, rate, replace, s, setText, span, table } from "./dom.js";
import { ask, get, may, part } from "./api.js";
import { queueHash, queueLink } from "./queues.js";

// "name=value" a line; true, false and numbers are what they look like, but not 007.
function readHeaders(text) {
  const headers = {};
  for (const line of text.split("\n").filter((at) => at.trim() !== "")) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`A header is NAME=VALUE, and this is not: ${line}`);
    const value = line.slice(at + 1).trim();
    headers[line.slice(0, at).trim()] = /^(true|false|-?(0|[1-9]\d{0,14}))$/.test(value) ?
      JSON.parse(value) : value;
  }
  return headers;
}

const WAYS = { published: "published here", bound: "came by a binding",
  alternate: "came as to the alternate exchange" };
const RECEPTIONS = { takes: ["takes it", "good"], drops_oldest: ["takes it, drops its oldest", "warn"],
  refuses: ["refuses it", "bad"], refuses_and_dead_letters: ["refuses it to its dead letters", "bad"] };

const target = (vhost, match) => match.destination_type === "queue" ?
  queueLink(vhost, match.destination) : `exchange ${match.destination}`;

function exchangeStep(vhost, at) {
  const misses = at.misses || [];
  return h("li", {}, h("div", {}, badge(at.type), " ", h("strong", {}, at.name || "(default)"), " ",
    h("small", {}, WAYS[at.way] || at.way, at.from && ` from ${at.from}`)),
  at.holds_back && h("p", { class: "quiet" }, "holds it back until its delay is over"),
  at.takes_alternate && h("p", { class: "quiet" }, "nothing matches: it goes to the alternate " +
    "exchange"),
  h("ul", { class: "matches" }, at.matches.map((match) => h("li", { class: "hit" }, "→ ",
    target(vhost, match), " ", h("code", {}, match.routing_key || "(empty)"), " ",
    h("small", {}, match.why)))),
  at.matches_total > at.matches.length && h("p", { class: "quiet" },
    `and ${at.matches_total - at.matches.length} more`),
  misses.length > 0 && h("details", {}, h("summary", {},
    `Not matching, and why: ${count(at.misses_total)}`), h("ul", { class: "matches" },
    misses.map((miss) => h("li", { class: "miss" }, "✕ ", target(vhost, miss), " ",
      h("code", {}, miss.routing_key || "(empty)"), " ", h("small", {}, miss.why))))));
}

export function explanation(answer) {
  const rights = answer.rights;
  return h("div", {},
    h("p", { class: `health ${answer.arrives ? "good" : "bad"}` }, answer.arrives ?
      `It arrives in ${answer.queues_total} queue${answer.queues_total === 1 ? "" : "s"}.` :
      "It arrives nowhere."),
    answer.refusal && h("p", { class: "trouble" }, `Publishing is refused: ${answer.refusal.text}`),
    answer.exchange_exists === false && h("p", { class: "trouble" }, "There is no such exchange."),
    rights && h("p", { class: "quiet" }, `${rights.user} ` +
      (rights.may_write === false ? "may not publish to this exchange." : "may publish here.")),
    h("ol", { class: "steps" }, answer.exchanges.map((at) => exchangeStep(answer.vhost, at))),
    table("Queues", ["Queue", "What it does", "Ready|number", "Consumers|number", "Expires|w2"],
      answer.queues.map((at) => [queueLink(answer.vhost, at.name),
        badge(...(RECEPTIONS[at.reception] || [at.reception, ""])), count(at.messages_ready),
        count(at.consumers), at.ttl_ms === undefined || at.ttl_ms === null ? "" : span(at.ttl_ms)]),
      "No queue gets it."));
}

export function routing(main, words, parameters) {
  const vhost = h("select", {});
  const given = (name) => parameters.get(name) || "";
  const exchange = h("input", { value: given("exchange"), spellcheck: "false",
    placeholder: "empty: the default exchange" });
  const key = h("input", { value: given("key"), spellcheck: "false" });
  const headers = h("textarea", { rows: 2, spellcheck: "false", placeholder: "format=pdf" });
  const user = h("input", { spellcheck: "false", placeholder: "rights are not asked for" });
  const result = h("div", { role: "region", "aria-live": "polite", "aria-label": "Explanation" });
  const go = h("button", { class: "primary" }, "Explain");
  const explain = () => act(go, async () => {
    replace(result, explanation(await ask("POST", `/api/bourse/route/${part(vhost.value)}`, {
      exchange: exchange.value, routing_key: key.value, headers: readHeaders(headers.value),
      user: user.value === "" ? undefined : user.value })));
  });
  replace(main, h("h1", {}, "Where does it go?"), h("p", { class: "quiet" },
    "Asks the broker what it would do with a message, and why. Nothing is published."),
  h("form", { class: "columns", onsubmit: (event) => { event.preventDefault(); explain(); } },
    field("Vhost", vhost), field("Exchange", exchange), field("Routing key", key),
    field("Headers", headers, "NAME=VALUE, one a line"),
    may("look") && field("As user", user, "to ask for rights as well"),
    h("div", { class: "field end" }, go)), result);
  get("/api/vhosts").then((found) => {
    const wanted = given("vhost");
    replace(vhost, found.map((at) => h("option", { value: at.name, selected: at.name === wanted },
      at.name)));
    if (parameters.has("exchange")) explain();
  }, (error) => replace(result, h("p", { class: "trouble" }, error.message)));
}

const NODES_MAX = 200;
const WIDTH = 190;
const HEIGHT = 34;
const GAP_X = 170;
const GAP_Y = 14;
const LABELS_MAX = 4; // as many as stand beside one queue
const LOOK_MS = 2000;

// How far from a source each node is: the longest way, cut where bindings go in a circle.
function layers(nodes, edges) {
  const layer = new Map(nodes.map((node) => [node.id, 0]));
  for (let turn = 0; turn < 6; turn++) {
    let isMoved = false;
    for (const edge of edges.filter((at) => !at.isDead)) {
      const wanted = layer.get(edge.from) + 1;
      if (wanted > layer.get(edge.to) && wanted <= 6) {
        layer.set(edge.to, wanted);
        isMoved = true;
      }
    }
    if (!isMoved) break;
  }
  const deepest = Math.max(1, ...layer.values());
  for (const node of nodes) if (node.kind === "queue") layer.set(node.id, deepest);
  return layer;
}

// Puts each node at the mean height of its neighbours, a few times to and fro.
function order(columns, edges) {
  const neighbours = new Map();
  for (const { from, to } of edges) {
    neighbours.set(from, [...(neighbours.get(from) || []), to]);
    neighbours.set(to, [...(neighbours.get(to) || []), from]);
  }
  const place = new Map();
  const note = () => columns.forEach((column) => column.forEach((node, i) => place.set(node.id, i)));
  note();
  for (let turn = 0; turn < 8; turn++) {
    for (const column of turn % 2 === 0 ? columns : [...columns].reverse()) {
      const mean = (node) => {
        const near = neighbours.get(node.id) || [];
        return near.length === 0 ? place.get(node.id) :
          near.reduce((sum, id) => sum + place.get(id), 0) / near.length;
      };
      const means = new Map(column.map((node) => [node.id, mean(node)]));
      column.sort((a, b) => means.get(a.id) - means.get(b.id));
      column.forEach((node, i) => place.set(node.id, i));
    }
  }
}

function short(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function draw(vhost, nodes, edges) {
  const layer = layers(nodes, edges);
  const columns = [];
  for (const node of nodes) (columns[layer.get(node.id)] ||= []).push(node);
  const used = columns.filter((column) => column && column.length > 0);
  order(used, edges);
  const spot = new Map();
  const tallest = Math.max(...used.map((column) => column.length));
  used.forEach((column, x) => column.forEach((node, y) => spot.set(node.id, {
    x: 10 + x * (WIDTH + GAP_X),
    y: 10 + ((y + 0.5) * tallest / column.length - 0.5) * (HEIGHT + GAP_Y) })));
  const width = 20 + used.length * WIDTH + (used.length - 1) * GAP_X;
  const height = 20 + tallest * (HEIGHT + GAP_Y);
  const labels = new Map();  // how many stand where lines end
  const lines = edges.map((edge) => {
    const a = spot.get(edge.from);
    const b = spot.get(edge.to);
    const isBack = b.x <= a.x;
    const x1 = isBack ? a.x : a.x + WIDTH;
    const x2 = isBack ? b.x + WIDTH : b.x;
    const y1 = a.y + HEIGHT / 2 + (isBack ? 8 : 0);
    const y2 = b.y + HEIGHT / 2 + (isBack ? 8 : 0);
    const bend = (x2 - x1) / 2;
    edge.title = s("title", {});
    edge.path = s("path", { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`,
      "marker-end": "url(#arrow)" }, edge.title);
    const nth = labels.get(edge.to) || 0;
    labels.set(edge.to, nth + 1);
    edge.label = s("text", { class: "edge-key", x: isBack ? x2 + 14 : x2 - 14, y: y2 - 5 - 12 * nth,
      "text-anchor": isBack ? "start" : "end" });
    return [edge.path, nth < LABELS_MAX && edge.label];
  });
  const boxes = nodes.map((node) => {
    const at = spot.get(node.id);
    const href = node.kind === "queue" ? queueHash(vhost, node.name) :
      `#/routes?vhost=${part(vhost)}&exchange=${part(node.name)}`;
    return s("a", { href, class: `node ${node.kind}` }, s("title", {}, `${node.kind} ${node.name}`),
      s("rect", { x: at.x, y: at.y, width: WIDTH, height: HEIGHT,
        rx: node.kind === "queue" ? 4 : HEIGHT / 2 }),
      s("text", { x: at.x + WIDTH / 2, y: at.y + 22, "text-anchor": "middle" },
        short(node.name || "(default)", 24)));
  });
  return h("div", { class: "scroll graph", tabindex: "0", role: "region", "aria-label": "Topology" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
      "aria-label": "Exchanges and queues" },
    s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4,
      markerUnits: "userSpaceOnUse", markerWidth: 11, markerHeight: 11, orient: "auto" }, s("path", { class: "arrow", d: "M0,0 L8,4 L0,8 z" }))),
    lines, boxes));
}

// Rates ----------------------------------------------------------------------------------------
// Nobody counts by binding: a line carries no more than what comes to its exchange, and no more than
// what comes to its queue; where one line alone leads to a queue that is what it carries.

const sum = (counts) => Object.values(counts || {}).reduce((all, each) => all + each, 0);

// Counters of exchanges, and of what died in queues, at one time.
function counters([exchanges, , queues]) {
  const counted = new Map();
  for (const each of exchanges) {
    counted.set(idOf("exchange", each.name), (each.message_stats || {}).publish_in || 0);
  }
  for (const each of queues) counted.set(idOf("queue", each.name), sum(each.bourse.died));
  return { at: performance.now(), counted };
}

// A second: what came to an exchange by its publishers, and what died in a queue.
function perSecond(now, before, id) {
  const was = before && before.counted.get(id);
  return was === undefined || was === null ? 0 :
    Math.max(0, (now.counted.get(id) - was) * 1000 / (now.at - before.at));
}

function giveRates(edges, found, now, before) {
  const flow = new Map();
  for (const id of now.counted.keys()) flow.set(id, perSecond(now, before, id));
  const arrival = new Map(found[2].map((each) =>
    [idOf("queue", each.name), each.bourse.arrival_rate || 0]));
  for (let turn = 0; turn < 4; turn++) {
    const come = new Map();
    for (const edge of edges) {
      edge.rate = Math.min(flow.get(edge.from) || 0, arrival.get(edge.to) ?? Infinity);
      come.set(edge.to, (come.get(edge.to) || 0) + edge.rate);
    }
    for (const [id, more] of come) {
      if (id.startsWith("exchange:")) flow.set(id, perSecond(now, before, id) + more);
    }
  }
}

function showRates(edges) {
  for (const edge of edges) {
    const text = edge.rate > 0 ? `at most ${rate(edge.rate)}` : "nothing now";
    edge.path.setAttribute("class", `edge${edge.isDead ? " dead" : ""}${edge.rate > 0 ? " busy" : ""}`);
    edge.path.setAttribute("stroke-width", (1.3 + 1.3 * Math.log10(1 + edge.rate)).toFixed(1));
    const [first, ...more] = edge.keys;
    setText(edge.title, `${edge.fromName} to ${edge.toName}: ` +
      `${edge.isDead ? "dead letters" : edge.keys.map((key) => key || "(empty)").join(", ")}, ${text}`);
    setText(edge.label, [short(first, 17), more.length > 0 && `+${more.length}`,
      edge.rate > 0 && rate(edge.rate)].filter(Boolean).join(" · "));
    if (edge.cell) setText(edge.cell, edge.rate > 0 ? text : "–");
  }
}

const idOf = (kind, name) => `${kind}:${name}`;

// Nodes and edges of a vhost; a part of it when `filter` says so. Bindings between the same two are one
// edge with all their keys.
function build(exchanges, bindings, queues, filter) {
  const lines = new Map();
  for (const binding of bindings.filter((at) => at.source !== "")) {
    const from = idOf("exchange", binding.source);
    const to = idOf(binding.destination_type, binding.destination);
    const both = JSON.stringify([from, to]);
    if (!lines.has(both)) {
      lines.set(both, { from, to, fromName: binding.source, toName: binding.destination, keys: [] });
    }
    lines.get(both).keys.push(binding.routing_key);
  }
  // Those with a key first: not all of a queue's lines have room for a label.
  const edges = [...lines.values()].sort((a, b) => !a.keys[0] - !b.keys[0]);
  const names = new Map();
  for (const at of exchanges) names.set(idOf("exchange", at.name), ["exchange", at.name]);
  for (const at of queues) names.set(idOf("queue", at.name), ["queue", at.name]);
  for (const queue of queues) {
    const dead = (queue.arguments || {})["x-dead-letter-exchange"];
    if (dead !== undefined && dead !== "" && names.has(idOf("exchange", dead))) {
      edges.push({ from: idOf("queue", queue.name), to: idOf("exchange", dead), isDead: true,
        fromName: queue.name, toName: dead, keys: [""] });
    }
  }
  const bound = new Set(edges.flatMap((edge) => [edge.from, edge.to]));
  const isWanted = (id, name) => bound.has(id) &&
    (filter === "" || name.toLowerCase().includes(filter.toLowerCase()));
  const wanted = new Set([...names].filter(([id, [, name]]) => isWanted(id, name))
    .map(([id]) => id));
  if (filter !== "") {
    for (const edge of edges) {
      if (names.get(edge.from)?.[1].toLowerCase().includes(filter.toLowerCase())) {
        wanted.add(edge.to);
      }
      if (names.get(edge.to)?.[1].toLowerCase().includes(filter.toLowerCase())) {
        wanted.add(edge.from);
      }
    }
  }
  return { nodes: [...names].filter(([id]) => wanted.has(id)).map(([id, [kind, name]]) =>
    ({ id, kind, name })),
  edges: edges.filter((edge) => wanted.has(edge.from) && wanted.has(edge.to)) };
}

export function graph(main) {
  const vhost = h("select", { "aria-label": "Vhost" });
  const filter = h("input", { type: "search", placeholder: "A part of a name",
    "aria-label": "Filter by name" });
  const picture = h("div", {}, h("p", { class: "quiet" }, "…"));
  let found = null;
  let edges = [];
  let now = null;
  let before = null;
  let timer = 0;
  let turn = 0; // what was asked for in an earlier one comes too late

  function show() {
    if (found === null) return;
    const built = build(...found, filter.value);
    edges = [];
    if (built.nodes.length === 0) {
      replace(picture, h("p", { class: "quiet" }, "No exchange is bound to anything here."));
    } else if (built.nodes.length > NODES_MAX) {
      replace(picture, h("p", {}, `${built.nodes.length} exchanges and queues are too many for a ` +
        `picture: filter by name until ${NODES_MAX} are left.`));
    } else {
      edges = built.edges;
      for (const edge of edges) edge.cell = h("span", {});
      replace(picture, draw(vhost.value, built.nodes, edges), h("details", {},
        h("summary", {}, "The same as a table"), table("Bindings", ["From", "Keys", "To",
          "Messages|number"], edges.map((edge) => [edge.fromName,
          edge.isDead ? "dead letters" : edge.keys.join(", "), edge.toName, edge.cell]))));
      measure();
    }
  }

  function measure() {
    giveRates(edges, found, now, before);
    showRates(edges);
  }

  const numbers = (bindings) => Promise.all([get(`/api/exchanges/${part(vhost.value)}` +
    "?columns=name,message_stats"), bindings, get(`/api/queues/${part(vhost.value)}` +
    "?columns=name,arguments,bourse")]);

  const load = async () => {
    const mine = ++turn;
    clearTimeout(timer);
    found = null;
    const answer = await numbers(get(`/api/bindings/${part(vhost.value)}`));
    if (mine !== turn) return;
    found = answer;
    now = counters(found);
    before = null;
    show();
    later();
  };
  const later = (tookMs = 0) => { timer = setTimeout(look, Math.max(LOOK_MS, 30 * tookMs)); };

  // How much goes over the lines, again and again; the lines are where they were.
  const look = async () => {
    const mine = turn;
    const began = performance.now();
    try {
      if (!document.hidden && edges.length > 0) {
        const answer = await numbers(found[1]);
        if (mine !== turn) return;
        found = answer;
        before = now;
        now = counters(found);
        measure();
      }
    } catch { /* The sign at the top says it. */ }
    if (mine === turn) later(performance.now() - began);
  };

  const again = button("Look again", () => act(again, load));
  filter.addEventListener("input", show);
  vhost.addEventListener("change", () => act(again, load));
  replace(main, h("div", { class: "row" }, h("h1", {}, "Topology"), vhost, filter, again), picture,
    h("p", { class: "quiet" }, "An exchange leads to the route explainer, a queue to its page. The " +
      "wider a line, the more goes over it; grey: nothing now; dashed: where dead letters go."));
  get("/api/vhosts").then((all) => {
    replace(vhost, all.map((at) => h("option", { value: at.name }, at.name)));
    return load();
  }).catch((error) => replace(picture, h("p", { class: "trouble" }, error.message)));
  return () => {
    clearTimeout(timer);
    turn++;
  };
}
