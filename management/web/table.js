// SPDX-License-Identifier: Apache-2.0
// A list that the broker sorts, filters and cuts into pages: only what is in view is asked for and
// in the document, however long it is.
import { button, h, refresh, replace, setText } from "./dom.js";
import { query, watch } from "./api.js";

const ROW = 40;
const PAGE = 100;
const MARGIN = 6;

// columns: {title, sort, cell(row) -> node or text, className}. `path` is asked with page, sort and
// name. Gives {element, search, stop}: `search` is an input that filters.
export function liveList({ path, columns, caption, noun, sort, reverse, fixed, empty }) {
  let total = 0;
  let name = "";
  let stop = () => {};
  let watched = "";
  let frame = 0;
  let settle = 0;
  let typing = 0;
  const pages = new Map();
  const head = h("div", { class: "vrow vhead", role: "row" });
  const body = h("div", { class: "vbody", role: "rowgroup" });
  const view = h("div", { class: "vview", tabindex: "0", role: "rowgroup", "aria-label": caption },
    body);
  const status = h("p", { class: "quiet", "aria-live": "polite" }, "…");
  const grid = h("div", { class: "vtable", role: "table", "aria-label": caption },
    h("div", { role: "rowgroup" }, head), view);
  const element = h("div", {}, status, grid);

  function drawHead() {
    replace(head, columns.map((column) => {
      const isSorted = column.sort === sort;
      return h("div", { role: "columnheader", class: `cell ${column.className || ""}`,
        "aria-sort": isSorted ? (reverse ? "descending" : "ascending") : undefined },
        column.sort ? button(column.title + (isSorted ? (reverse ? " ↓" : " ↑") : ""), () => {
          reverse = isSorted ? !reverse : !/name$|^user$/.test(column.sort);
          sort = column.sort;
          again();
          head.querySelector("[aria-sort] button").focus();
        }, { class: "plain" }) : column.title);
    }));
  }

  const first = () => Math.max(0, Math.floor(view.scrollTop / ROW) - MARGIN);
  const last = () => Math.min(total,
    Math.ceil((view.scrollTop + view.clientHeight) / ROW) + MARGIN);

  const pathOf = (page) => path + query({ ...fixed, page, page_size: PAGE, sort,
    sort_reverse: reverse ? "true" : "", name });

  function take(page, answer) {
    pages.set(page, answer.items);
    total = answer.filtered_count;
    setText(status, total === 0 ? (name ? "None has that in its name." : empty) :
      `${total.toLocaleString("en")} ${name ? `of ${answer.total_count.toLocaleString("en")} ` : ""}` +
      (answer.total_count === 1 ? noun : `${noun}s`));
    body.style.height = `${total * ROW}px`;
    grid.setAttribute("aria-rowcount", total + 1);
    draw();
  }

  // The one page, or the two, that are in view.
  function follow() {
    const from = Math.floor(first() / PAGE) + 1;
    const to = Math.max(from, Math.ceil(Math.max(1, last()) / PAGE));
    const wanted = [];
    for (let page = from; page <= Math.min(to, from + 2); page++) wanted.push(page);
    const paths = wanted.map(pathOf);
    if (paths.join() === watched) return;
    watched = paths.join();
    stop();
    stop = watch(paths, wanted.map((page) => (answer) => take(page, answer)),
      (error, i) => {
        setText(status, error.message);
        if (wanted[i] > 1) { // so many are not there any more
          view.scrollTop = 0;
          again();
        }
      });
  }

  function row(at) {
    const item = (pages.get(Math.floor(at / PAGE) + 1) || [])[at % PAGE];
    const element = h("div", { class: "vrow", role: "row", "aria-rowindex": at + 2 },
      columns.map((column) => h("div", { role: "cell", class: `cell ${column.className || ""}` },
        item ? column.cell(item) : "…")));
    element.style.transform = `translateY(${at * ROW}px)`;
    return element;
  }

  function draw() {
    const rows = [];
    for (let at = first(); at < last(); at++) rows.push(row(at));
    refresh(body, rows);
  }

  view.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
    clearTimeout(settle);
    settle = setTimeout(follow, 120);
  }, { passive: true });

  view.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !body.contains(document.activeElement)) return;
    const links = [...body.querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
    }
  });

  function again() {
    pages.clear();
    watched = "";
    drawHead();
    draw();
    follow();
  }

  const search = h("input", { type: "search", placeholder: "A part of the name",
    "aria-label": "Filter by name", oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        name = search.value;
        view.scrollTop = 0;
        again();
      }, 150);
    } });
  const onResize = () => { draw(); follow(); };
  addEventListener("resize", onResize);
  drawHead();
  follow();
  return {
    element,
    search,
    stop() {
      stop();
      clearTimeout(settle);
      clearTimeout(typing);
      removeEventListener("resize", onResize);
    },
  };
}
