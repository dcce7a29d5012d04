// SPDX-License-Identifier: Apache-2.0
// Who is connected, and who may do what.
import { badge, button, confirm, count, h, notice, octets, replace, span, table } from "./dom.js";
import { ask, get, has, may, part } from "./api.js";
import { liveList } from "./table.js";

function clientName(connection) {
  const properties = connection.client_properties || {};
  return properties.connection_name || connection.user_provided_name || connection.name;
}

function closeButton(connection) {
  return button("Close", () => confirm("Close this connection?",
    `${clientName(connection)} is told that an operator closed it. What it has not acknowledged ` +
    "goes back to its queues.", "Close it", async () => {
      await ask("DELETE", `/api/connections/${part(connection.name)}`);
      notice("The connection was closed.");
    }), { class: "small danger" });
}

export function connections(main) {
  const columns = [
    { title: "Client", sort: "name", className: "wide", cell: (at) => [clientName(at),
      h("small", {}, ` ${(at.client_properties || {}).product || ""} ` +
        `${(at.client_properties || {}).version || ""}`)] },
    { title: "User", sort: "user", className: "w1", cell: (at) => at.user },
    { title: "Vhost", className: "w2", cell: (at) => at.vhost },
    { title: "From", className: "w2 address", cell: (at) => `${at.peer_host}:${at.peer_port}` },
    { title: "TLS", className: "w3", cell: (at) => at.ssl ? `${at.ssl_protocol || "yes"} ` +
      `${at.ssl_cipher || ""}` : "no" },
    { title: "State", className: "state", cell: (at) => badge(at.state || "running",
      at.state === "running" || at.state === undefined ? "good" : "warn") },
    { title: "Channels", className: "number w2", cell: (at) => count(at.channels) },
    { title: "In", className: "number w3", cell: (at) => octets(at.recv_oct) },
    { title: "Out", className: "number w3", cell: (at) => octets(at.send_oct) },
    { title: "Age", className: "number w1", cell: (at) => at.connected_at ?
      span(Date.now() - at.connected_at) : "–" },
  ];
  if (may("operate") && has("DELETE /api/connections/{connection}")) {
    columns.push({ title: "", className: "button-cell", cell: closeButton });
  }
  const list = liveList({ path: "/api/connections", columns, caption: "Connections", noun: "connection", sort: "name",
    reverse: false, fixed: {}, empty: "Nobody is connected." });
  let typing = 0;
  const filter = h("input", { type: "search", placeholder: "A part of the name",
    "aria-label": "Filter by name", oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => list.filter(filter.value), 150);
    } });
  replace(main, h("div", { class: "row" }, h("h1", {}, "Connections"), filter), list.element);
  return list.stop;
}

// Rights in words -------------------------------------------------------------------------------

function onWhat(expression) {
  if (expression === "") return "nothing";
  if (expression === ".*") return "everything";
  const plain = /^\^\(?([\w.|:-]+)\)?\$$/.exec(expression);
  if (plain) return plain[1].split("|").map((at) => at.replace(/\\./g, ".")).join(", ");
  const beginning = /^\^([\w:-]+)(\\\.|\.\*)?$/.exec(expression);
  return beginning ? `what begins with ${beginning[1]}` : `what matches ${expression}`;
}

function inWords(permission) {
  const words = [["publish to", permission.write], ["consume from", permission.read],
    ["create and delete", permission.configure]];
  return h("li", {}, h("strong", {}, permission.vhost), ": ", words.map(([verb, expression], i) =>
    `${i > 0 ? "; " : "may "}${verb} ${onWhat(expression)}`), ".");
}

const ROLES = [["administrator", "may change everything"], ["monitoring", "sees everything"],
  ["policymaker", "may set policies"], ["management", "may change what the rights allow"]];

function roleOf(tags) {
  const list = Array.isArray(tags) ? tags : String(tags || "").split(",").filter(Boolean);
  const known = ROLES.filter(([tag]) => list.includes(tag)).map(([, words]) => words);
  if (list.includes("administrator")) return ROLES[0][1];
  return known.length > 0 ? known.join(", ") : "is a client: may not use this console";
}

export function users(main) {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  replace(main, h("h1", {}, "Users and what they may"), list);
  Promise.all([get("/api/users"), get("/api/permissions")]).then(([all, permissions]) => {
    replace(list, table("Users", ["User", "In the console", "In the vhosts"], all.map((user) => {
      const own = permissions.filter((at) => at.user === user.name);
      return [h("strong", {}, user.name), roleOf(user.tags),
        own.length > 0 ? h("ul", { class: "plain" }, own.map(inWords)) : "may enter none"];
    }), "There are no users."));
  }).catch((error) => replace(list, h("p", { class: "trouble" }, error.message)));
}
