// SPDX-License-Identifier: Apache-2.0
// The page around the pages: signing in, where one is, and what goes on.
import { act, button, choice, field, h, leaveDialogs, link, notice, replace, setText } from "./dom.js";
import { may, onLiveness, resume, SIGNED, signIn, signOut, user, whenSignedOut } from "./api.js";
import { overview } from "./overview.js";
import { queue, queues } from "./queues.js";
import { letters, audit } from "./letters.js";
import { graph, routing } from "./routes.js";
import { connections, log, sample, settings, users } from "./operation.js";
import { plan } from "./plan.js";

// Path, title, page, and whether this user has it.
const PAGES = [
  ["", "Overview", overview, () => true],
  ["queues", "Queues", queues, () => true],
  ["dead-letters", "Dead letters", letters, () => may("operate")],
  ["routes", "Routes", routing, () => true],
  ["graph", "Topology", graph, () => true],
  ["connections", "Connections", connections, () => true],
  ["users", "Users", users, () => may("admin")],
  ["plan", "Plan", plan, () => may("see_all")],
  ["audit", "Audit", audit, () => true],
  ["log", "Log", log, () => may("see_all")],
  ["sample", "Sample", sample, () => may("admin")],
  ["settings", "Settings", settings, () => may("admin")],
];

const top = document.getElementById("top");
const main = document.getElementById("main");
let leave = () => {};

// Light, dark, or as the system is: kept in this browser.
function paint(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function themeChoice() {
  const kept = localStorage.getItem("theme") || "system";
  const select = choice([["system", "System"], ["light", "Light"], ["dark", "Dark"]], kept,
    (theme) => { localStorage.setItem("theme", theme); paint(theme); });
  select.setAttribute("aria-label", "Colours");
  return select;
}

function drawTop(current) {
  const out = button("Sign out", () => act(out, signOut));
  const live = h("span", { class: "live", id: "live", role: "status" });
  replace(top, h("div", { class: "brand" }, link("#/", "Bourse")),
    h("nav", { "aria-label": "Pages" }, PAGES.filter((page) => page[3]()).map(([path, title]) =>
      link(`#/${path}`, title, { "aria-current": path === current ? "page" : undefined }))),
    h("div", { class: "who" }, live, h("span", { class: "name" }, user().name), themeChoice(),
      out));
  const here = top.querySelector("[aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "nearest" });
}

onLiveness((isLive) => {
  const sign = document.getElementById("live");
  if (!sign) return;
  sign.classList.toggle("lost", !isLive);
  setText(sign, isLive ? "" : "No connection: what you see is old");
});

function away() {
  leave();
  leave = () => {};
  leaveDialogs();
}

function show() {
  away();
  if (user() === null) {
    askToSignIn("");
    return;
  }
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const words = path.split("/").map((word) => {
    try { return decodeURIComponent(word); } catch { return word; }
  });
  const known = PAGES.find((page) => page[0] === words[0] && page[3]());
  const isQueue = words[0] === "queue" && words.length === 3;
  const page = known ? known[2] : isQueue && queue;
  const title = known ? known[1] : isQueue ? words[2] : "Not here";
  drawTop(isQueue ? "queues" : words[0]);
  document.title = `${title} – Bourse`;
  main.className = `page-${words[0] || "overview"}`;
  replace(main);
  if (!page) {
    replace(main, h("h1", {}, "There is no such page"), link("#/", "To the overview"));
    return;
  }
  leave = page(main, words.slice(1), new URLSearchParams(search || "")) || (() => {});
}

function askToSignIn(text) {
  away();
  const name = h("input", { autocomplete: "username", required: true, spellcheck: "false" });
  const password = h("input", { type: "password", autocomplete: "current-password" });
  const trouble = h("p", { class: "trouble", role: "alert" }, text);
  const go = h("button", { class: "primary" }, "Sign in");
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        await signIn(name.value, password.value);
        show();
      } catch (error) {
        replace(trouble, error.message);
        go.disabled = false;
        password.select();
      }
    },
  }, h("h1", {}, "Bourse"), trouble, field("Name", name), field("Password", password), go);
  document.title = "Sign in – Bourse";
  replace(top);
  main.className = "page-sign-in";
  replace(main, form);
  name.focus();
}

whenSignedOut(askToSignIn);
// The address behind # is a page's.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("storage", ({ key }) => {
  if (key === SIGNED) resume().then(show, () => {});
});
paint(localStorage.getItem("theme"));
resume().then(show, (error) => {
  askToSignIn("");
  notice(error.message, "bad");
});
