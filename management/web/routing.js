// SPDX-License-Identifier: Apache-2.0
// The route explainer: type a routing key, see every step to every queue, and why not the others.
import { act, badge, count, definitions, field, h, replace, span, table } from "./dom.js";
import { ask, get, may, part } from "./api.js";
import { queueLink } from "./attention.js";

// "name=value" a line; true, false and numbers are what they look like.
function readHeaders(text) {
  const headers = {};
  for (const line of text.split("\n").filter((at) => at.trim() !== "")) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`A header is NAME=VALUE, and this is not: ${line}`);
    const value = line.slice(at + 1).trim();
    headers[line.slice(0, at).trim()] = /^(true|false|-?\d{1,15})$/.test(value) ?
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
    `${count(at.misses_total)} that do not match, and why`), h("ul", { class: "matches" },
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
