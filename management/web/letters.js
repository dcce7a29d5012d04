// SPDX-License-Identifier: Apache-2.0
// The dead-letter desk: what died, in groups; a sample; sending it back; throwing it away.
import { act, badge, button, choice, count, definitions, dialog, field, h, link, notice, octets,
  plural, refresh, replace, span, table, time } from "./dom.js";
import { ask, deskPath, get, may, part, query, watch } from "./api.js";
import { messageView, peekBox, queueLink } from "./queues.js";

const POLL_MS = 400;

export function letters(main, words) {
  return words.length >= 2 ? triage(main, words[0], words[1]) : choose(main);
}

function choose(main) {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  replace(main, h("h1", {}, "Dead letters"),
    h("p", { class: "quiet" }, "Queues that messages came to when a consumer rejected them, when " +
      "they expired, or when another queue was full."), list);
  return watch(["/api/bourse/dead-letters"], [(value) => {
    refresh(list, table("Queues with dead letters",
      ["Queue", "Messages|number", "In quarantine|number", "Oldest|number w2", "|"],
      value.queues.map((at) => [[queueLink(at.vhost, at.queue), h("small", {}, ` ${at.vhost}`)],
        count(at.messages), count(at.parked), span(at.oldest_ms),
        link(`#/dead-letters/${part(at.vhost)}/${part(at.queue)}`, "Triage", { class: "button" })]),
      "No queue holds dead letters."));
  }], (error) => replace(list, h("p", { class: "trouble" }, error.message)));
}

// One queue ------------------------------------------------------------------------------------

// What a group is as a filter: exactly its messages. An empty word is for those that have none.
const filterOf = (group) => Object.fromEntries([["origin_queue"], ["reason"], ["error_class"],
  ["origin_key", "routing_key"]].map(([name, member]) => [name, group[member || name] ?? ""]));

const between = (from, to) => from === to ? from : `${from} to ${to}`;

const describe = (group) => [group.reason || "no reason known",
  group.error_class && `: ${group.error_class}`].filter(Boolean).join("");

function triage(main, vhost, name) {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  const work = h("div", { role: "status" });
  const some = h("div", { class: "row" });
  const load = async () => {
    const value = await get(deskPath(vhost, name, "groups"));
    replace(list, groups(vhost, name, value, work, load));
  };
  const again = button("Look again", () => act(again, load));
  replace(main, h("p", { class: "crumbs" }, link("#/dead-letters", "Dead letters"),
    ` in vhost ${vhost}`), h("div", { class: "row" }, h("h1", {}, name || "(no name)"), again,
    link(`#/queue/${part(vhost)}/${part(name)}`, "The queue", { class: "button" })), work, list,
  h("h2", {}, "Messages one by one"), some, peekBox(vhost, name, (ids) => {
    const title = plural(ids.length, "message");
    replace(some, ids.length > 0 && [`${title} chosen`, verbs(vhost, name, { title,
      count: ids.length, filter: { ids } }, work, load)]);
  }));
  load().catch((error) => replace(list, h("p", { class: "trouble" }, error.message)));
  get("/api/bourse/replays").then(({ replays }) => replays.filter((at) => !isOver(at) &&
    at.vhost === vhost && at.queue === name).forEach((at) => follow(at, work, load)), () => {});
  return () => { work.dataset.over = "1"; };
}

function groups(vhost, name, value, work, load) {
  if (value.groups.length === 0) return h("p", { class: "quiet calm" }, "There is nothing here.");
  const everything = { count: value.messages, filter: {}, isAll: true, title: "all messages" };
  const rows = value.groups.map((group) => ({ ...group, filter: filterOf(group),
    title: describe(group) }));
  const isAll = value.others.count === 0;
  return [h("div", { class: "row" }, h("p", {}, `${plural(value.messages, "message")} in ` +
    (isAll ? "" : "more than ") + plural(rows.length, "group")),
  verbs(vhost, name, everything, work, load)),
  h("ul", { class: "groups" }, rows.map((group) => h("li", {},
    h("div", { class: "grow" }, h("strong", {}, `${count(group.count)} × `),
      badge(group.reason || "unknown", "warn"), " ",
      group.error_class && h("code", {}, group.error_class),
      definitions([["From queue", group.origin_queue || "unknown"],
        ["Routing key", group.routing_key || "(empty)"],
        ["Size", octets(group.octets)],
        ["Age", between(span(group.newest_ms), span(group.oldest_ms))]])),
    h("div", { class: "row" }, verbs(vhost, name, group, work, load),
      sampleButton(vhost, name, group))))),
  !isAll && h("p", { class: "quiet" }, `${count(value.others.count)} more in ` +
    "smaller groups.")];
}

function sampleButton(vhost, name, group) {
  const look = button("Sample", () => act(look, async () => {
    const answer = await get(deskPath(vhost, name, "peek") + query({ ids: group.sample, count: 1 }));
    dialog("A message of this group", (close) => h("div", {}, answer.messages.length > 0 ?
      messageView(answer.messages[0]) : h("p", {}, "It is not there any more."),
    h("div", { class: "row end" }, button("Close", close))));
  }));
  return look;
}

function verbs(vhost, name, group, work, load) {
  return [button("Replay…", () => replayDialog(vhost, name, group, work, load), { class: "primary" }),
    link(deskPath(vhost, name, "export?") + Object.entries(group.filter).map(([word, text]) =>
      `${word}=${part(text)}`).join("&"), "Export", { class: "button",
      download: `${name.replace(/[^\w.-]/g, "_")}.ndjson` }),
    button("Drop…", () => dropDialog(vhost, name, group, work, load), { class: "danger" })];
}

function replayDialog(vhost, name, group, work, load) {
  dialog(`Replay ${group.title}`, (close) => {
    let to = "origin";
    const exchange = h("input", { spellcheck: "false" });
    const key = h("input", { spellcheck: "false" });
    const elsewhere = h("div", { hidden: true }, field("Exchange", exchange),
      field("Routing key", key, "Empty: as the message had it"));
    const rate = h("input", { type: "number", min: 0, value: 0, class: "short" });
    const note = h("input", { maxlength: 200 });
    const found = h("div", { role: "status" });
    const body = (isDry) => ({ to, filter: group.filter, dry_run: isDry,
      rate: Math.max(0, Math.ceil(Number(rate.value) || 0)), note: note.value,
      exchange: to === "exchange" ? exchange.value : undefined,
      routing_key: to === "exchange" && key.value !== "" ? key.value : undefined,
      wait: isDry || undefined });
    const dry = button("Dry run", () => act(dry, async () => {
      const answer = await ask("POST", deskPath(vhost, name, "replay"), body(true));
      replace(found, outcome(answer));
    }));
    const go = button("Replay", () => act(go, async () => {
      const answer = await ask("POST", deskPath(vhost, name, "replay"), body(false));
      close();
      follow(answer, work, load);
    }), { class: "primary" });
    return h("div", {}, h("p", {}, `${plural(group.count, "message")} in ${name}.`),
      field("Where to", choice([["origin", "The queue they came from"],
        ["origin_exchange", "The exchange they were published to"],
        ["exchange", "Another exchange"]], to, (value) => {
        to = value;
        elsewhere.hidden = value !== "exchange";
      })), elsewhere,
      field("At most so many a second", rate, "0: as fast as the queues take them"),
      field("Note for the audit", note), found,
      h("div", { class: "row end" }, button("Cancel", close), dry, go));
  });
}

function dropDialog(vhost, name, group, work, load) {
  dialog(`Drop ${group.title}`, (close) => {
    const note = h("input", { maxlength: 200 });
    const typed = h("input", { autocomplete: "off", spellcheck: "false" });
    const go = button("Drop", () => act(go, async () => {
      const answer = await ask("POST", deskPath(vhost, name, "drop"), { filter: group.filter,
        note: note.value, all: group.isAll || undefined });
      close();
      follow(answer, work, load);
    }), { class: "danger", disabled: true });
    for (const at of [note, typed]) {
      at.addEventListener("input", () => { go.disabled = !note.value || typed.value !== name; });
    }
    return h("div", {}, h("p", {}, `${count(group.count)} messages are gone for good. Export them ` +
      "first if somebody may want them."), field("Why (for the audit)", note),
    field(`Type ${name} to confirm`, typed),
    h("div", { class: "row end" }, button("Cancel", close), go));
  });
}

const STATES = { running: "Running", waits_for_disk: "Waits for the disk",
  waits_for_rate: "Runs at the rate you gave", waits_for_room: "Waits for room in a queue",
  waits_for_alarm: "Waits: publishers are held back", done: "Done", cancelled: "Cancelled",
  given_up: "Given up" };
const isOver = (batch) => ["done", "cancelled", "given_up"].includes(batch.state);

function outcome(batch) {
  const stayed = [["no_target_count", "had nowhere to go"], ["full_count", "met a full queue"],
    ["too_large_count", "were too large"], ["unreadable_count", "could not be read"],
    ["not_allowed_count", "may not be published there by you"]]
    .filter(([name]) => batch[name] > 0).map(([name, text]) => `${count(batch[name])} ${text}`);
  const word = batch.action === "drop" ? "dropped" : batch.dry_run ? "would go" : "replayed";
  return h("div", {}, h("p", {}, h("strong", {}, `${count(batch.done)} of ${count(batch.total)} ` +
    word), stayed.length > 0 && `; ${stayed.join(", ")}, and stay`),
  batch.targets && batch.targets.length > 0 && h("ul", {}, batch.targets.map((target) =>
    h("li", {}, `${count(target.count)} to ${target.queue}`))));
}

// Shows how far a batch is until it is over.
function follow(first, work, load) {
  const box = h("div", { class: "batch" });
  work.append(box);
  const cancel = button("Cancel", () => act(cancel, () =>
    ask("DELETE", `/api/bourse/replays/${first.id}`)));
  const draw = (batch) => {
    replace(box, h("div", { class: "row" }, h("strong", {}, STATES[batch.state] || batch.state),
      h("progress", { max: Math.max(1, batch.total), value: batch.done,
        "aria-label": "How far it is" }), !isOver(batch) && cancel,
      batch.batch && h("small", {}, `batch ${batch.batch}`)), outcome(batch));
    if (isOver(batch)) load().catch(() => {});
    else setTimeout(poll, POLL_MS);
  };
  const poll = async () => {
    if (work.dataset.over) return;
    try {
      draw(await get(`/api/bourse/replays/${first.id}`));
    } catch (error) {
      if (error.status === 0) setTimeout(poll, POLL_MS);
      else notice(error.message, "bad");
    }
  };
  draw(first);
}

// Who did what -----------------------------------------------------------------------------------

export function audit(main) {
  const list = h("div", {}, h("p", { class: "quiet" }, "…"));
  replace(main, h("h1", {}, "Audit"), h("p", { class: "quiet" },
    "What operators did, the newest first."), list);
  get("/api/bourse/audit").then((value) => {
    replace(list, table("Audit", ["When", "Who", "What", "Queue", "Which|w2", "Note", "Done|number"],
      [...value.entries].reverse().map((entry) => [time(entry.time_ms), entry.user || "this machine",
        entry.action.replace(/[._]/g, " ") + (entry.phase === "begun" ? " begun" : ""), entry.queue,
        [entry.filter, entry.target].filter(Boolean).join(" "), entry.note, count(entry.done_count)]),
      "Nobody has done anything yet."));
  }, (error) => replace(list, h("p", { class: "trouble" }, error.message)));
}
