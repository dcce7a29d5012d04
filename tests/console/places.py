# SPDX-License-Identifier: Apache-2.0
"""Going through pages fast: a script that runs in the page, finds what a person would find, and waits
for what it shows. Each step begins with an empty page, so that nothing is found on the one before."""

HELP = """
const done = arguments[arguments.length - 1];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const wait = async (test, what) => {
  for (let turn = 0; turn < 800; turn++) {
    const value = test();
    if (value) return value;
    await sleep(10);
  }
  throw new Error(`waited for ${what}; the page says ${document.body.innerText.slice(0, 600)}`);
};
const all = (selector) => [...document.querySelectorAll(selector)];
const texts = (selector) => all(selector).map((at) => at.textContent);
const go = (path) => {
  document.getElementById("main").replaceChildren();
  if (location.hash === `#/${path}`) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = `#/${path}`;
};
// One of the elements shows the text, whole or as a part.
const shows = (selector, text) => wait(() => texts(selector).some((at) => at.includes(text)),
  `${JSON.stringify(text)} in ${selector}`);
const press = (text, within = "#main") => wait(() => {
  const found = all(`${within} button, ${within} a, ${within} summary`).filter((at) =>
    at.checkVisibility() && !at.disabled && at.textContent.trim() === text);
  if (found.length > 0) found[0].click();
  return found.length > 0;
}, `a button ${text}`);
const part = encodeURIComponent;
"""


def run(browser, script, *arguments):
    """`script` is the body of an async function with the helpers and `arguments`."""
    browser.driver.set_script_timeout(60)
    failure = browser.driver.execute_async_script(
        HELP + "(async (...given) => {" + script + "})(...arguments).then(() => done(null), "
        "(error) => done(String(error && error.message || error)));", *arguments)
    assert failure is None, failure
