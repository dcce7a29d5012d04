// SPDX-License-Identifier: Apache-2.0
// Topology as code in the browser: paste a file, see what it would take, do it.
import { act, badge, button, confirm, count, field, h, notice, replace, time } from "./dom.js";
import { ask, get, may, user } from "./api.js";

const KINDS = { create: "good", change: "", replace: "warn", delete: "bad" };
const SIGNS = { create: "+", change: "~", replace: "!", delete: "−" };

function line(at) {
  if (at.sentence !== undefined) return at.sentence;
  const side = (value) => value === null || value === undefined ? "nothing" : value;
  return `${at.key}: ${side(at.from)} → ${side(at.to)}`;
}

function step(at) {
  const what = at.object === "binding" ? `${at.name} → ${at.destination}` +
    `${at.routing_key ? ` (${at.routing_key})` : ""}` : at.name;
  return h("li", { class: KINDS[at.action] }, badge(`${SIGNS[at.action] || ""} ${at.action}`,
    KINDS[at.action]), " ", at.object.replace("_", " "), " ", h("strong", {}, what),
  at.lines.length > 0 && h("ul", {}, at.lines.map((each) => h("li", {}, line(each)))),
  at.messages > 0 && h("p", { class: "trouble" }, `${count(at.messages)} messages are at stake.`),
  at.needs && at.needs.length > 0 && h("p", { class: "trouble" }, "Refused unless you allow it: ",
    at.needs.join(", ")));
}

function planView(plan) {
  const told = (list, title) => list && list.length > 0 && h("ul", { class: "trouble" },
    list.map((at) => h("li", {}, `${title}, line ${at.line}: ${at.text}`)));
  return h("div", {}, h("p", { class: `health ${plan.steps.length === 0 || plan.is_applicable ?
    "good" : "bad"}` }, plan.steps.length === 0 ? "Nothing is to be done: the broker is as the " +
    "file says." : `${plan.steps.length} steps in vhost ${plan.vhost}.` +
    (plan.is_applicable ? "" : " Some are refused.")),
  plan.steps.some((at) => at.object === "user" && at.action === "delete" && at.name === user().name) &&
    h("p", { class: "trouble" }, "This takes your own user away: you will be signed out, and may " +
      "not come in again."),
  told(plan.warnings, "Warning"), h("ul", { class: "plan" }, plan.steps.map(step)));
}

// What may be lost has to be said by name.
function allowances(plan) {
  const needing = (need) => [...new Set(plan.steps.filter((at) => (at.needs || []).includes(need))
    .map((at) => at.name))];
  return { discard: needing("discard"), unprotect: needing("unprotect") };
}

export function plan(main) {
  const text = h("textarea", { rows: 16, class: "code", spellcheck: "false",
    placeholder: "bourse: 1\nvhost: shop\nqueues:\n  orders: {}" });
  const file = h("input", { type: "file", accept: ".yaml,.yml", onchange: async () => {
    if (file.files.length > 0) text.value = await file.files[0].text();
  } });
  const prune = h("input", { type: "checkbox" });
  const result = h("div", { role: "region", "aria-live": "polite", "aria-label": "Plan" });
  const past = h("div", {});
  const drift = h("div", {});
  const body = (more) => ({ files: [{ name: "console.yaml", text: text.value }],
    prune: prune.checked, ...more });

  function refused(error) {
    replace(result, h("p", { class: "health bad" }, error.message));
  }

  const look = button("Plan", () => act(look, async () => {
    try {
      const found = await ask("POST", "/api/bourse/plan", body({}));
      replace(result, planView(found), may("admin") &&
        found.steps.length > 0 && applyButtons(found));
    } catch (error) {
      refused(error);
    }
  }), { class: "primary" });

  async function apply(found, allowed) {
    const done = await ask("POST", "/api/bourse/apply", body({ digest: found.digest, ...allowed }));
    replace(result, h("p", { class: "health good" }, `Applied: generation ${done.generation} of ` +
      `vhost ${done.vhost}.`));
    notice("The plan was applied, and is on disk.");
    history();
  }

  function applyButtons(found) {
    const allowed = allowances(found);
    const names = [...allowed.discard, ...allowed.unprotect];
    if (names.length === 0 && found.is_applicable) {
      const go = button("Apply", () => act(go, () => apply(found, {})), { class: "primary" });
      return h("div", { class: "row end" }, go);
    }
    if (names.length === 0) return null;
    return h("div", { class: "row end" }, button("Apply all the same…", () =>
      confirm("Apply what loses something?", `This replaces or deletes ${names.join(", ")}, with ` +
        "all messages in there.", "Apply", () => apply(found, allowed), found.vhost),
    { class: "danger" }));
  }

  function history() {
    get("/api/bourse/drift").then((found) => {
      const differing = found.filter((at) => at.count > 0);
      replace(drift, differing.length > 0 && [h("h2", {}, "What differs from what was applied"),
        differing.map((at) => h("pre", { tabindex: "0" }, at.text))]);
    }, () => {});
    get("/api/bourse/generations").then((found) => {
      replace(past, found.length > 0 && [h("h2", {}, "What was applied"),
        h("ul", { class: "plain" }, found.slice(0, 20).map((at) => h("li", {},
          `${at.id}: vhost ${at.vhost}, ${at.cause} `, at.maker && `by ${at.maker} `,
          time(at.applied_ms), " ", at.is_current && badge("current", "good"))))]);
    }, () => {});
  }

  replace(main, h("h1", {}, "Plan"), h("p", { class: "quiet" }, "Paste a topology file: the plan ",
    "says what it would take, and changes nothing."), field("Topology (YAML)", text),
  h("div", { class: "row" }, field("From a file", file),
    h("label", { class: "check" }, prune, "Delete what the file does not have"), look), result, drift, past);
  history();
}
