# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium on the console of a broker: signs in, finds what a person would find (by
text, label or role), and collects what the browser complains about."""

import time

from selenium import webdriver
from selenium.common.exceptions import (JavascriptException, StaleElementReferenceException,
                                        WebDriverException)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

WAIT_S = 20
# Runs before any script of a page: counts what a hostile name would call, and what the content
# security policy reports.
WITNESS = """
window.executed = 0;
window.violations = [];
window.alert = window.prompt = window.confirm = window.xss = () => { window.executed += 1; };
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


def start(width=1280, height=800, theme="light"):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # The last one is against pages that go from address to address, as ours does in these tests.
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--hide-scrollbars", "--lang=en",
                 "--disable-ipc-flooding-protection"):
        options.add_argument(word)
    options.accept_insecure_certs = True  # of authorities that a test makes
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WITNESS})
    browser = Browser(driver)
    browser.resize(width, height)
    browser.colours(theme)
    return browser


class Browser:
    def __init__(self, driver):
        self.driver = driver
        self.base = ""

    def resize(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def colours(self, theme):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def wait(self, condition, what):
        """Until `condition()` is true and not None; its value."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                value = condition()
                if value:
                    return value
            except (StaleElementReferenceException, JavascriptException, WebDriverException):
                pass
            time.sleep(0.05)
        raise AssertionError(f"waited for {what}; the page says:\n{self.text()}\n"
                             f"{self.driver.get_log('browser')}")

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def wait_text(self, text):
        self.wait(lambda: text in self.text(), repr(text))

    def wait_gone(self, text):
        self.wait(lambda: text not in self.text(), f"no {text!r}")

    def find(self, xpath):
        def look():
            found = [at for at in self.driver.find_elements(By.XPATH, xpath) if at.is_displayed()]
            return found[0] if found else None
        return self.wait(look, xpath)

    def has(self, xpath):
        return any(at.is_displayed() for at in self.driver.find_elements(By.XPATH, xpath))

    def field(self, label):
        """The input with that label."""
        return self.on(f"//label[contains(., {quote(label)})]",
                       lambda at: self.driver.find_element(By.ID, at.get_attribute("for")))

    def fill(self, label, text):
        element = self.field(label)
        element.clear()
        element.send_keys(text)

    def press(self, text, within=""):
        """The button or link with that text."""
        def click():
            path = f"{within}//*[self::button or self::a][normalize-space(.)={quote(text)}]"
            for element in reversed(self.driver.find_elements(By.XPATH, path)):
                if element.is_displayed() and element.is_enabled():
                    element.click()
                    return True
            return False
        self.wait(click, f"button {text!r}")

    def on(self, xpath, act):
        """What `act` gives for the element. The page may replace the element between finding it and
        acting on it; then the new one is found."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return act(self.find(xpath))
            except StaleElementReferenceException:
                if time.monotonic() > deadline:
                    raise

    def click(self, xpath):
        self.on(xpath, lambda at: at.click())

    def text_of(self, xpath):
        return self.on(xpath, lambda at: at.text)

    def key(self, *keys):
        """Pressed by themselves, on whatever has the focus when they arrive: an element asked for
        first may have been replaced by then. Shift is held until the others are up."""
        held = [key for key in keys if key == Keys.SHIFT]
        chain = ActionChains(self.driver)
        for key in held:
            chain.key_down(key)
        chain.send_keys(*(key for key in keys if key not in held))
        for key in held:
            chain.key_up(key)
        chain.perform()

    def go(self, path=""):
        self.driver.get(f"{self.base}/#/{path}")
        self.driver.execute_script("window.dispatchEvent(new HashChangeEvent('hashchange'))")

    def sign_in(self, address, user="admin", password="secret", scheme="http"):
        self.base = f"{scheme}://{address[0]}:{address[1]}"
        self.driver.get("about:blank")
        self.driver.get_log("browser")  # what another broker left behind
        self.driver.get(self.base + "/")
        self.fill("Name", user)
        self.fill("Password", password + Keys.ENTER)
        self.wait_text("Sign out")

    def complaints(self):
        """What the browser says that it should not."""
        entries = [entry["message"] for entry in self.driver.get_log("browser")
                   if entry["level"] in ("SEVERE", "WARNING") and "status of 4" not in entry["message"]]
        return entries + self.driver.execute_script("return window.violations")

    def executed(self):
        return self.driver.execute_script("return window.executed")

    def picture(self, path):
        self.driver.save_screenshot(str(path))

    def quit(self):
        self.driver.quit()


def quote(text):
    """As a string of XPath, which has no escapes."""
    parts = text.split("'")
    return f"'{text}'" if len(parts) == 1 else "concat(" + ", \"'\", ".join(f"'{p}'" for p in parts) + ")"
