# SPDX-License-Identifier: Apache-2.0
"""Every page in light and dark, wide and narrow, filled with something: nothing is wider than the
screen, all text has contrast, every control has a
name and shows the focus, and headings and landmarks are in order. With BOURSE_PICTURES=DIR pictures of them are
written there; those of docs/console/ were made so and looked at."""

import os
import pathlib

import pytest

from console import filling

TOPOLOGY = filling.TOPOLOGY
PAGES = [("overview", ""), ("queues", "queues"), ("queue", "queue/%2F/billing"),
         ("dead-letters", "dead-letters"), ("triage", "dead-letters/%2F/dead"),
         ("routes", "routes?vhost=%2F&exchange=orders&key=order.eu.placed"), ("graph", "graph"),
         ("connections", "connections"), ("users", "users"), ("plan", "plan"), ("audit", "audit"),
         ("log", "log"), ("sample", "sample"), ("settings", "settings")]
LOOKS = [(theme, width) for theme in ("light", "dark") for width in (1280, 360)]

# Ratios of WCAG 2, over what lies behind each text.
CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
  v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => { for (let at = element; at; at = at.parentElement) {
  const colour = rgb(getComputedStyle(at).backgroundColor); if (colour[3] === 255) return colour; }
  return [255, 255, 255]; };
const found = [];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest('title, option, .hidden, .skip, :disabled'))
    continue;
  const style = getComputedStyle(element);
  const box = element.closest('a') && element.closest('a').querySelector('rect');
  const [a, b] = [light(rgb(element.closest('svg') ? style.fill : style.color)),
    light(box ? rgb(getComputedStyle(box).fill) : behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return found;
"""

NAMELESS = """
return [...document.querySelectorAll('a, button, input, select, textarea, [role=img], meter, progress')]
  .filter((at) => at.checkVisibility())
  .filter((at) => !(at.getAttribute('aria-label') || at.textContent.trim() ||
    (at.labels && at.labels.length > 0)))
  .map((at) => at.outerHTML.slice(0, 120));
"""


# Structure that who does not see the page goes by: one main heading, no level left out, landmarks, no
# id twice, nothing that jumps the order of the document, and a mark on whatever has the focus.
STRUCTURE = """
const wrong = [];
const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((at) => Number(at.tagName[1]));
if (levels.filter((at) => at === 1).length !== 1) wrong.push(`${levels} as headings`);
levels.forEach((at, i) => { if (at > (levels[i - 1] || 0) + 1) wrong.push(`h${at} behind ${levels[i - 1]}`); });
const signedIn = document.querySelector('header').childElementCount > 0;
for (const mark of signedIn ? ['main', 'header', 'nav[aria-label]'] : ['main'])
  if (document.querySelectorAll(mark).length !== 1) wrong.push(`not one ${mark}`);
if (!document.documentElement.lang || !document.title) wrong.push('no language or title');
const ids = [...document.querySelectorAll('[id]')].map((at) => at.id);
if (new Set(ids).size !== ids.length) wrong.push('an id twice');
for (const at of document.querySelectorAll('[aria-describedby], [aria-labelledby]'))
  for (const id of (at.getAttribute('aria-describedby') || at.getAttribute('aria-labelledby')).split(' '))
    if (!document.getElementById(id)) wrong.push(`nothing is called ${id}`);
const kept = document.activeElement;
for (const at of document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex]')) {
  if (at.tabIndex > 0) wrong.push(`tabindex of ${at.outerHTML.slice(0, 80)}`);
  if (at.tabIndex < 0 || at.disabled || !at.checkVisibility()) continue;
  at.focus({ focusVisible: true, preventScroll: true });
  const mark = getComputedStyle(at.querySelector(':scope > rect') || at);
  if (document.activeElement !== at) wrong.push(`no focus on ${at.outerHTML.slice(0, 80)}`);
  else if (mark.outlineStyle === 'none' && parseFloat(mark.strokeWidth) < 3)
    wrong.push(`focus is not seen on ${at.outerHTML.slice(0, 80)}`);
}
if (kept) kept.focus({ preventScroll: true });
for (const at of document.querySelectorAll('*')) {
  const { transitionDuration, animationName } = getComputedStyle(at);
  if (transitionDuration !== '0s' || animationName !== 'none') { wrong.push(`${at.tagName} moves`); break; }
}
return wrong;
"""


@pytest.fixture(scope="module")
def filled(broker):
    with filling.fill(broker) as broker.channel:
        yield broker


@pytest.mark.parametrize("theme, width", LOOKS)
def test_pages_are_readable_in_every_size_and_colour(chromium, filled, theme, width):
    chromium.resize(width, 720 if width > 600 else 760)
    chromium.colours(theme)
    chromium.driver.delete_all_cookies()
    chromium.driver.get("about:blank")
    chromium.driver.get(f"http://{filled.http[0]}:{filled.http[1]}/")
    chromium.find("//label[.='Password']")
    check(chromium, "sign-in", theme, width)
    chromium.sign_in(filled.http)
    try:
        for name, path in PAGES:
            chromium.go(path)
            settle(chromium, name, filled)
            check(chromium, name, theme, width)
        assert chromium.complaints() == []
    finally:
        chromium.resize(1280, 800)
        chromium.colours("light")


def settle(chromium, name, broker):
    chromium.wait(lambda: not chromium.has("//main//p[.='…']"), f"page {name}")
    if name == "triage":
        chromium.wait_text("×")
    if name == "routes":
        chromium.wait_text("It arrives")
    if name == "overview":
        chromium.wait_text("Dead letters")
        chromium.wait_text("billing")
        if os.environ.get("BOURSE_PICTURES"):  # rates and ages come with the next second
            chromium.wait(lambda: filling.send(broker.channel, 10) or chromium.driver.execute_script(
                "return document.querySelector('.spark polyline').getAttribute('points').split(' ').length > 3"),
                          "a quarter of a minute")
    if name == "plan":
        chromium.field("Topology").send_keys(filling.PLAN)
        chromium.press("Plan")
        chromium.wait_text("steps in vhost")
    if name == "queue":
        chromium.wait_text("default exchange")
        if os.environ.get("BOURSE_PICTURES"):  # a chart of some seconds
            chromium.wait(lambda: filling.send(broker.channel, 5) or "5 s ago" in chromium.text(), "a line")
    if name == "log":
        chromium.wait_text("audit.pause")
    if name == "graph":
        chromium.wait(lambda: chromium.driver.find_elements("css selector", ".node"), "nodes")
        if os.environ.get("BOURSE_PICTURES"):  # rates take two looks
            chromium.wait(lambda: filling.send(broker.channel, 10) or "/s" in chromium.text(), "rates")
    if name == "sample" and os.environ.get("BOURSE_PICTURES"):
        chromium.press("Start")
        chromium.wait_text("ends by itself")
        filling.send(broker.channel, 2)
        chromium.click("//summary[contains(., 'order.')]")
        chromium.press("Stop")
        chromium.wait_text("It has ended")


def check(chromium, name, theme, width):
    folder = os.environ.get("BOURSE_PICTURES")
    if folder:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        chromium.picture(pathlib.Path(folder) / f"{name}-{theme}-{width}.png")
    wide = chromium.driver.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{name} is {wide} pixels wider than {width}"
    assert chromium.driver.execute_script(CONTRAST) == [], (name, theme)
    assert chromium.driver.execute_script(NAMELESS) == [], name
    assert chromium.driver.execute_script(STRUCTURE) == [], name
