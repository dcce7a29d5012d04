// SPDX-License-Identifier: Apache-2.0
// The topology as a picture: exchanges on the left, queues on the right, bindings between.
import { act, button, h, replace, s, table } from "./dom.js";
import { get, has, part } from "./api.js";
import { queueHash } from "./attention.js";

const NODES_MAX = 200;
const WIDTH = 190;
const HEIGHT = 34;
const GAP_X = 170;
const GAP_Y = 14;

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
    y: 10 + (y + (tallest - column.length) / 2) * (HEIGHT + GAP_Y) })));
  const width = 20 + used.length * WIDTH + (used.length - 1) * GAP_X;
  const height = 20 + tallest * (HEIGHT + GAP_Y);
  const lines = edges.map((edge) => {
    const a = spot.get(edge.from);
    const b = spot.get(edge.to);
    const isBack = b.x <= a.x;
    const x1 = isBack ? a.x : a.x + WIDTH;
    const x2 = isBack ? b.x + WIDTH : b.x;
    const y1 = a.y + HEIGHT / 2 + (isBack ? 8 : 0);
    const y2 = b.y + HEIGHT / 2 + (isBack ? 8 : 0);
    const bend = (x2 - x1) / 2;
    return [s("path", { class: edge.isDead ? "edge dead" : "edge",
      d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`,
      "marker-end": "url(#arrow)" },
    s("title", {}, `${edge.fromName} to ${edge.toName}: ${edge.key || "(empty)"}`)),
    edge.key && s("text", { class: "edge-key", x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 4,
      "text-anchor": "middle" }, short(edge.key, 22))];
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
    s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 8,
      markerHeight: 8, orient: "auto" }, s("path", { class: "arrow", d: "M0,0 L8,4 L0,8 z" }))),
    lines, boxes));
}

const idOf = (kind, name) => `${kind}:${name}`;

// Nodes and edges of a vhost; a part of it when `filter` says so.
function build(exchanges, bindings, queues, filter) {
  const edges = bindings.filter((binding) => binding.source !== "").map((binding) => ({
    from: idOf("exchange", binding.source), to: idOf(binding.destination_type, binding.destination),
    fromName: binding.source, toName: binding.destination, key: binding.routing_key }));
  const names = new Map();
  for (const at of exchanges) names.set(idOf("exchange", at.name), ["exchange", at.name]);
  for (const at of queues) names.set(idOf("queue", at.name), ["queue", at.name]);
  for (const queue of queues) {
    const dead = (queue.arguments || {})["x-dead-letter-exchange"];
    if (dead !== undefined && dead !== "" && names.has(idOf("exchange", dead))) {
      edges.push({ from: idOf("queue", queue.name), to: idOf("exchange", dead), isDead: true,
        fromName: queue.name, toName: dead, key: "dead letters" });
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

  function show() {
    if (found === null) return;
    const { nodes, edges } = build(...found, filter.value);
    if (nodes.length === 0) {
      replace(picture, h("p", { class: "quiet" }, "No exchange is bound to anything here."));
    } else if (nodes.length > NODES_MAX) {
      replace(picture, h("p", {}, `${nodes.length} exchanges and queues are too many for a ` +
        `picture: filter by name until ${NODES_MAX} are left.`));
    } else {
      replace(picture, draw(vhost.value, nodes, edges), h("details", {},
        h("summary", {}, "The same as a table"), table("Bindings", ["From", "Key", "To"],
          edges.map((edge) => [edge.fromName, edge.key, edge.toName]))));
    }
  }

  const load = async () => {
    const at = part(vhost.value);
    const [exchanges, bindings, queues] = await Promise.all([get(`/api/exchanges/${at}`),
      get(`/api/bindings/${at}`), get(`/api/queues/${at}?disable_stats=true&columns=name,arguments`)]);
    found = [exchanges, bindings, queues];
    show();
  };
  const again = button("Look again", () => act(again, load));
  filter.addEventListener("input", show);
  vhost.addEventListener("change", () => act(again, load));
  replace(main, h("div", { class: "row" }, h("h1", {}, "Topology"), vhost, filter, again), picture,
    h("p", { class: "quiet" }, "An exchange leads to the route explainer",
      has("POST /api/bourse/route/{vhost}") ? "" : " (not in this broker)", ", a queue to its " +
      "page. Dashed: where dead letters go."));
  get("/api/vhosts").then((all) => {
    replace(vhost, all.map((at) => h("option", { value: at.name }, at.name)));
    return load();
  }).catch((error) => replace(picture, h("p", { class: "trouble" }, error.message)));
}
