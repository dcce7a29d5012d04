# SPDX-License-Identifier: Apache-2.0
"""What the console costs its browser: memory after a long time, and the time of a frame while ten
thousand queues go by."""

import pytest

from console import places

HOUR_TICKS = 3600  # the broker tells of a change at most once a second
TICKS = 1200
GROWTH_MAX = 10 * 1024 * 1024  # in an hour
FRAME_P95_MAX_MS = 2 * 1000 / 60 + 1  # one frame in twenty may come one late
QUEUES = 10_000

# Keeps the streams that a page opens, and the last that each event said.
LISTEN = """
window.streams = [];
const Real = window.EventSource;
window.EventSource = class extends Real {
  constructor(...given) {
    super(...given);
    this.said = {};
    window.streams.push(this);
    for (let i = 0; i < 8; i++) {
      this.addEventListener(`w${i}`, (event) => { this.said[`w${i}`] = event.data; });
    }
  }
  close() { super.close(); window.streams = window.streams.filter((at) => at !== this); }
};
"""

# As if the broker had said something else each second: the last event again, with other numbers.
TICK = """
const [ticks] = given;
const stream = await wait(() => window.streams.at(-1), "a stream");
await wait(() => Object.keys(stream.said).length > 0, "an event");
const said = Object.entries(stream.said);
for (let turn = 0; turn < ticks; turn++) {
  for (const [kind, data] of said) {
    stream.dispatchEvent(new MessageEvent(kind, {
      data: data.replace(/(_ms|messages\\w*|rate|publish)":\\d+/g, `$1":${turn % 977}`) }));
  }
  if (turn % 100 === 0) await sleep(0);
}
"""


@pytest.fixture
def listening(chromium, broker):
    script = chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
    chromium.driver.delete_all_cookies()
    chromium.sign_in(broker.http)
    yield chromium
    chromium.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def heap(browser):
    """Octets of live objects, and the number of nodes, after collecting what is not."""
    browser.driver.execute_cdp_cmd("Performance.enable", {})
    for _ in range(2):
        browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    found = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    values = {at["name"]: at["value"] for at in found}
    return values["JSHeapUsedSize"], values["Nodes"]


@pytest.mark.parametrize("page, sign", [("", "Needs attention"), ("queue/%2F/long", "Settings, and"),
                                        ("queues", "long")])
def test_an_hour_of_events_takes_no_more_than_ten_megabytes(listening, broker, page, sign):
    broker.api.queue("long")
    listening.go(page)
    listening.wait_text(sign)
    places.run(listening, TICK, 10)
    before, nodes_before = heap(listening)
    places.run(listening, TICK, TICKS)
    after, nodes = heap(listening)
    growth = (after - before) * HOUR_TICKS / TICKS
    print(f"{page or 'overview'}: {(after - before) / 1024:+.0f} KiB, {nodes - nodes_before:+.0f} nodes "
          f"after {TICKS} events; {growth / 1024:+.0f} KiB an hour")
    assert growth <= GROWTH_MAX
    assert nodes - nodes_before < 500


def test_going_from_page_to_page_leaves_nothing_behind(listening, broker):
    broker.api.queue("long")
    visit = """
for (let turn = 0; turn < given[0]; turn++) {
  for (const path of ["", "queues", "queue/%2F/long", "dead-letters", "graph", "connections", "log"]) {
    go(path);
    await sleep(15);
  }
}
await wait(() => window.streams.length <= 1, "streams to be closed");
"""
    places.run(listening, visit, 2)
    before, nodes_before = heap(listening)
    places.run(listening, visit, 10)
    after, nodes = heap(listening)
    print(f"70 pages: {(after - before) / 1024:+.0f} KiB, {nodes - nodes_before:+.0f} nodes")
    assert after - before <= 2 * 1024 * 1024
    assert nodes - nodes_before < 2000


SCROLL = """
const view = await wait(() => document.querySelector(".vview"), "the list");
await shows("#main p", "10,0");
const frames = [];
const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
let before = await frame();
for (let turn = 0; turn < 120; turn++) {
  view.scrollTop += 300;
  const now = await frame();
  frames.push(now - before);
  before = now;
}
window.frames_ms = frames;
window.rows = document.querySelectorAll(".vbody .vrow").length;
await wait(() => !texts(".vbody .cell").includes("…"), "rows at the end");
"""


def test_ten_thousand_queues_scroll_smoothly(listening, broker, channel):
    """The best of at most five, in a browser that shares its machine with other tests."""
    for number in range(QUEUES):
        channel.send("queue.declare", queue=f"many-{number:05}", nowait=True)
    channel.declare("many-last")
    found = []
    while len(found) < 5 and not (found and min(found)[0] <= FRAME_P95_MAX_MS):
        listening.go("queues?sort=name")
        places.run(listening, SCROLL)
        frames = sorted(listening.driver.execute_script("return window.frames_ms"))
        found.append((frames[len(frames) * 95 // 100], frames[len(frames) // 2], frames[-1]))
    tail, median, worst = min(found)
    print(f"a frame: median {median:.1f} ms, p95 {tail:.1f} ms, worst {worst:.1f} ms")
    assert listening.driver.execute_script("return window.rows") < 60
    assert tail <= FRAME_P95_MAX_MS
