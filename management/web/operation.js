// SPDX-License-Identifier: Apache-2.0
// Who is connected and who may do what; the log as it is written, a sample of all messages, the
// settings in force.
import { act, badge, button, choice, confirm, count, field, h, link, notice, octets, replace,
  span, table } from "./dom.js";
import { ask, get, may, part, query } from "./api.js";
import { liveList } from "./table.js";
import { messageView } from "./queues.js";

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
    }), { class: "small danger", "aria-label": `Close ${connection.name}` });
}

export function connections(main) {
  const columns = [
    { title: "Client", sort: "user_provided_name", className: "wide", cell: (at) => [
      h("span", { title: clientName(at) }, clientName(at)), h("small", {}, ` ${(at.client_properties || {}).product || ""} ` +
        `${(at.client_properties || {}).version || ""}`)] },
    { title: "User", sort: "user", className: "w1", cell: (at) => [at.user, at.peer_cert_subject &&
      h("small", { title: at.peer_cert_subject }, ` ${at.peer_cert_subject}`)] },
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
  if (may("operate")) {
    columns.push({ title: "", className: "button-cell", cell: closeButton });
  }
  const list = liveList({ path: "/api/connections", columns, caption: "Connections",
    noun: "connection", sort: "user_provided_name", reverse: false, fixed: {}, empty: "Nobody is connected." });
  replace(main, h("div", { class: "row" }, h("h1", {}, "Connections"), list.search), list.element);
  return list.stop;
}

// Rights in words -------------------------------------------------------------------------------

// An expression as a topology file makes it: names, or beginnings of names, in a row.
function onWhat(expression) {
  if (expression === "") return "nothing";
  const [, inner] = /^\^\(?((?:[\w|:-]|\\\W|\.\*)+)\)?\$?$/.exec(expression) || [];
  if (expression === ".*") return "everything";
  if (inner === undefined || /\.\*./.test(inner.replaceAll(".*|", "")) ||
      (inner.includes("|") && !expression.startsWith("^("))) return `what matches ${expression}`;
  return inner.split("|").map((at) => {
    const name = at.replace(/\.\*$/, "").replace(/\\(.)/g, "$1");
    return at.endsWith(".*") || !expression.endsWith("$") ? `what begins with ${name}` : name;
  }).join(", ");
}

function inWords(permission) {
  const words = [["publish to", permission.write], ["consume from", permission.read],
    ["create and delete", permission.configure]];
  return h("li", {}, h("strong", {}, permission.vhost), ": ", words.map(([verb, expression], i) =>
    `${i > 0 ? "; " : "may "}${verb} ${onWhat(expression)}`), ".");
}

const topicInWords = (topic) => h("li", {}, h("strong", {}, topic.vhost),
  `: on ${topic.exchange || "each topic exchange"} with routing keys that match `, h("code", {}, topic.write),
  " only.");

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
  Promise.all(["/api/users", "/api/permissions", "/api/topic-permissions"].map(get)).then(([all,
    permissions, topics]) => {
    replace(list, table("Users", ["User", "In the console", "In the vhosts"], all.map((user) => {
      const ofUser = (rows) => rows.filter((at) => at.user === user.name);
      const own = ofUser(permissions);
      return [h("strong", {}, user.name), roleOf(user.tags), own.length > 0 ? h("ul", { class: "plain" },
        own.map(inWords), ofUser(topics).map(topicInWords)) : "may enter none"];
    }), "There are no users."));
  }).catch((error) => replace(list, h("p", { class: "trouble" }, error.message)));
}

const LOOK_MS = 1000;
const LINES_MAX = 1000;

// Does `action` each second while somebody sees the page; gives a function that ends it.
function eachSecond(action) {
  let timer = 0;
  let isOver = false;
  const turn = async () => {
    if (!document.hidden) {
      try { await action(); } catch { /* The sign at the top says it. */ }
    }
    if (!isOver) timer = setTimeout(turn, LOOK_MS);
  };
  turn();
  return () => { isOver = true; clearTimeout(timer); };
}

// The log ----------------------------------------------------------------------------------------

const LEVELS = ["error", "warn", "info", "debug"];
const KINDS = { error: "bad", warn: "warn", info: "", debug: "" };

// logfmt or JSON, as the broker writes it.
function readLine(text) {
  if (text.startsWith("{")) {
    try {
      const { time, level, event, ...rest } = JSON.parse(text);
      return { time, level, event, rest: Object.entries(rest).map(([name, value]) =>
        `${name}=${JSON.stringify(value)}`).join(" ") };
    } catch { /* As text, then. */ }
  }
  const found = /^time=(\S+) level=(\S+) event=(\S+) ?(.*)$/.exec(text);
  return found ? { time: found[1], level: found[2], event: found[3], rest: found[4] } :
    { time: "", level: "info", event: "", rest: text };
}

export function log(main) {
  let last = 0;
  let level = "debug";
  const list = h("ol", { class: "log" });
  const view = h("div", { class: "scroll tail", tabindex: "0", role: "log", "aria-label": "Log" }, list);
  const filter = h("input", { type: "search", placeholder: "A part of a line",
    "aria-label": "Filter lines" });
  const isKept = (line) => LEVELS.indexOf(line.dataset.level) <= LEVELS.indexOf(level) &&
    line.textContent.toLowerCase().includes(filter.value.toLowerCase());
  const sift = () => [...list.children].forEach((line) => { line.hidden = !isKept(line); });
  const levels = choice([["debug", "All levels"], ["info", "Without debug"],
    ["warn", "Warnings and errors"], ["error", "Errors"]], level, (chosen) => {
    level = chosen;
    sift();
  });
  levels.setAttribute("aria-label", "Level");
  filter.addEventListener("input", sift);
  replace(main, h("div", { class: "row" }, h("h1", {}, "Log"), levels, filter), view,
    h("p", { class: "quiet" }, "The last lines, and what comes; times are UTC. It stays where you " +
      "scroll to, and follows when you are at its end."));

  const add = (text) => {
    const { time, level: loud, event, rest } = readLine(text);
    const line = h("li", { "data-level": loud }, h("time", {}, time.slice(11, 23)), badge(loud,
      KINDS[loud]), h("b", {}, event), h("span", {}, rest));
    line.hidden = !isKept(line);
    list.append(line);
    if (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
  };
  return eachSecond(async () => {
    const answer = await get(`/api/bourse/log?after=${last}`);
    const isAtEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 40;
    if (answer.lines.length === 0 && answer.first <= last) last = 0; // another broker by now
    else last = answer.first + answer.lines.length - 1;
    answer.lines.forEach(add);
    if (isAtEnd && answer.lines.length > 0) view.scrollTop = view.scrollHeight;
  });
}

// A sample of all messages -----------------------------------------------------------------------

const SAMPLE_S = 60;
const SAMPLE_MAX = 100;
const tracingPath = (vhost) => `/api/bourse/vhosts/${part(vhost)}/tracing`;

function traceOf(message) {
  const headers = (message.properties || {}).headers || {};
  const [what] = message.routing_key.split(".");
  const from = headers.exchange_name || "(default)";
  return h("details", { class: "one" }, h("summary", {}, badge(what === "deliver" ? "delivered" :
    "published", what === "deliver" ? "good" : ""), " ", what === "deliver" ?
    message.routing_key.slice(8) : `${from} ${(headers.routing_keys || []).join(", ")}`, " ",
  h("small", {}, octets(message.payload_bytes))), messageView(message));
}

export function sample(main) {
  const vhost = h("select", {});
  const key = h("input", { value: "#", spellcheck: "false" });
  const list = h("div", { class: "samples" });
  const state = h("p", { class: "quiet", role: "status" });
  const left = h("div", {});
  let stop = null;
  let isLeft = false;

  // Those that somebody left on, whoever it was.
  const tellOfTraced = async () => {
    const all = await get("/api/vhosts?columns=name,tracing");
    if (vhost.childElementCount === 0) {
      replace(vhost, all.map((each) => h("option", { value: each.name }, each.name)));
    }
    replace(left, stop === null && all.filter((each) => each.tracing).map((each) => {
      const off = button("Switch off", () => act(off, async () => {
        await ask("POST", tracingPath(each.name), { tracing: false });
        await tellOfTraced();
      }));
      return h("p", { class: "row trouble" }, `Tracing of ${each.name} is on: each message is ` +
        "copied, whether somebody looks or not.", off);
    }));
  };

  async function begin() {
    const at = vhost.value;
    const name = `console.sample.${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
    const path = `/api/queues/${part(at)}/${name}`;
    const seen = new Set();
    const until = Date.now() + SAMPLE_S * 1000;
    const { tracing } = await get(tracingPath(at));
    await ask("PUT", path, { durable: false, arguments: { "x-expires": SAMPLE_S * 1000,
      "x-max-length": SAMPLE_MAX } });
    await ask("POST", `/api/bindings/${part(at)}/e/amq.rabbitmq.trace/q/${name}`,
      { routing_key: key.value });
    await ask("POST", tracingPath(at), { tracing: true });
    replace(list);
    const end = eachSecond(async () => {
      if (Date.now() > until) {
        await finish();
        return;
      }
      const { messages } = await get(`/api/bourse/queues/${part(at)}/${name}/peek` +
        query({ count: SAMPLE_MAX, truncate: 2048 }));
      for (const message of messages.filter((each) => !seen.has(each.id))) {
        seen.add(message.id);
        list.prepend(traceOf(message));
        if (list.childElementCount > SAMPLE_MAX) list.lastElementChild.remove();
      }
      if (stop !== null) {
        replace(state, `${seen.size} seen, the newest first; ends by itself in ` +
          `${Math.max(0, Math.round((until - Date.now()) / 1000))} s.`);
      }
    });
    // As it was before; what cannot be told any more ends when the queue expires.
    stop = async () => {
      stop = null;
      end();
      removeEventListener("pagehide", finish);
      await Promise.allSettled([tracing ? null : ask("POST", tracingPath(at), { tracing: false }),
        ask("DELETE", path)]);
    };
    addEventListener("pagehide", finish);
    if (isLeft) return stop();
    replace(go, "Stop");
    return tellOfTraced();
  }

  async function finish() {
    if (stop !== null) await stop();
    replace(go, "Start");
    replace(state, "It has ended; what was seen stays here until you leave.");
    await tellOfTraced();
  }

  const go = button("Start", () => act(go, stop === null ? begin : finish), { class: "primary" });
  replace(main, h("h1", {}, "Sample of messages"), h("p", { class: "quiet" }, "Copies of what is " +
    `published and delivered, the last ${SAMPLE_MAX}, for a minute. Meanwhile each message of the ` +
    "vhost is copied: on a busy broker that is felt."), left,
  h("div", { class: "columns" }, field("Vhost", vhost), field("Which", key,
    "publish.EXCHANGE, deliver.QUEUE, # for all"), h("div", { class: "field end" }, go)), state, list);
  tellOfTraced().catch((error) => notice(error.message, "bad"));
  return () => {
    isLeft = true;
    if (stop !== null) stop();
  };
}

// Settings ---------------------------------------------------------------------------------------

// What is left to the broker.
const LEFT = { "server.data-dir": "none: everything is in memory",
  "server.threads": "by the number of cores",
  "server.disk-free-percent": "the larger of 1 GiB and 5 %", "server.control-socket": "in the data directory" };

function shown({ key, value }) {
  if (!value) return LEFT[key] || "–";
  if (Array.isArray(value)) return value.length === 0 ? "off" : value.join(", ");
  if (/percent/.test(key)) return `${value} %`;
  return /bytes|frame-max/.test(key) && value > 0 ? `${octets(value)} (${value})` : String(value);
}

export function settings(main) {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  replace(main, h("h1", {}, "Settings"), h("p", { class: "quiet" }, "Of the server, as they have " +
    "been in force since it started. They are changed in the file; what a topology says is under ",
  link("#/plan", "Plan"), "."), list);
  // Of bytes and percent of one thing, one is in force and the other one is 0.
  get("/api/config/effective").then((rows) => replace(list, table("Settings", ["Setting", "Value",
    "Comes from"], rows.filter(({ key, value }) => value !== 0 || (key in LEFT &&
      !rows.some((other) => other.value > 0 && other.key === key.replace("percent", "bytes"))))
    .map((row) => [h("code", {}, row.key), shown(row), row.file === null ?
    h("span", { class: "quiet" }, "default") : row.line ? `${row.file}, line ${row.line}` :
      row.file]))), (error) => replace(list, h("p", { class: "trouble" }, error.message)));
}
