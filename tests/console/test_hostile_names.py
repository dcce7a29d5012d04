# SPDX-License-Identifier: Apache-2.0
"""Reliability T19: names full of markup, wherever one shows, are text and never run. The places are
counted: each is looked for by what it shows, so a page that shows nothing proves nothing."""

import contextlib
import urllib.parse

import pytest

from console.names import NAMES

WHOLE = [name for name in NAMES if "\t" not in name]


def part(name):
    return urllib.parse.quote(name, safe="")


@contextlib.contextmanager
def connection_of(broker, name):
    """A client that calls itself so, consumes under that tag, and rejects what it gets."""
    connection = broker.connect()
    connection.open(user="admin", password="secret")
    channel = connection.channel()
    yield channel
    connection.close()


def make(broker, channel, name):
    """Everything that a client can name, named so."""
    dead = "dead " + name
    broker.api.queue(dead)
    broker.api.queue(name, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
                              "x-" + name: name})
    channel.call("exchange.declare", exchange=name, type="topic")
    channel.bind(name, name, name, {name: name})
    channel.bind(dead, name, "no." + name)
    channel.publish(name, name, name.encode(), message_id=name, content_type=name, app_id=name,
                    type=name, headers={name: name})
    channel.wait_for_counts(name, 1, 0)
    channel.reject(channel.get(name, no_ack=False).delivery_tag, requeue=False)
    channel.wait_for_counts(dead, 1, 0)
    channel.publish(name, name, name.encode(), headers={name: name})
    channel.wait_for_counts(name, 1, 0)
    channel.consume(name, consumer_tag=name, no_ack=False)
    channel.delivery()
    return dead


def shows(browser, text):
    """As a whole text of its own; white space as a page shows it."""
    script = "return document.body.textContent.includes(arguments[0])"
    browser.wait(lambda: browser.driver.execute_script(script, text), repr(text))


def visit(browser, broker, name, dead):
    """Twenty places; each shows the name."""
    browser.go()
    browser.wait_text("Needs attention")
    browser.go("queues?sort=name")                              # 1 a row of the list
    browser.find("//input[@type='search']").send_keys(name)     # 2 the filter
    shows(browser, name)
    browser.go(f"queue/%2F/{part(name)}")                       # 3 title, 4 heading
    browser.wait_text("Comes from")
    shows(browser, name)                                        # 5 argument, 6 its value, 7 consumer
    browser.wait_text("Routing key")                            # 8 source, 9 key, 10 arguments
    browser.press("Purge")                                      # 11 what is to be typed
    browser.press("Cancel", "//dialog")
    browser.go(f"queue/%2F/{part(dead)}")
    browser.press("Look")
    browser.find("//details[@class='one']/summary").click()     # 12 key, 13 properties, 14 body
    shows(browser, name)
    for view in ("JSON", "Hex", "Text"):
        browser.press(view)
    browser.go("dead-letters")                                  # 15 a queue of dead letters
    shows(browser, dead)
    browser.go(f"dead-letters/%2F/{part(dead)}")                # 16 a group's queue and key
    shows(browser, name)
    browser.press("Replay…")                                    # 17 the dialog's title
    browser.press("Dry run", "//dialog")
    browser.wait_text("would go")                               # 18 a target
    browser.press("Cancel", "//dialog")
    browser.go(f"routes?vhost=%2F&exchange={part(name)}&key={part(name)}")
    browser.wait_text("It arrives in")                          # 19 exchange, bindings, queue
    shows(browser, name)
    browser.go("graph")                                         # 20 boxes and lines
    browser.wait_text("Dashed")


@pytest.mark.parametrize("name", WHOLE[::6])
def test_a_hostile_name_is_text_in_every_place(browser, broker, name):
    with connection_of(broker, name) as channel:
        dead = make(broker, channel, name)
        visit(browser, broker, name, dead)
        assert browser.executed() == 0
        assert browser.complaints() == []


def test_all_of_them_at_once_in_lists_and_graph(browser, broker):
    with connection_of(broker, "all") as channel:
        for name in NAMES:
            broker.api.queue("q" + name)
            channel.call("exchange.declare", exchange="x" + name, type="direct")
            channel.bind("q" + name, "x" + name, name)
        for path in ("", "queues", "graph", "connections", "routes?exchange=" + part("x" + NAMES[0])):
            browser.go(path)
            browser.wait(lambda: not browser.has("//main//p[.='…']"), path)
        browser.go("graph")
        browser.wait(lambda: len(browser.driver.find_elements("css selector", ".node")) >= 100, "nodes")
        assert browser.executed() == 0
        assert browser.complaints() == []


def test_an_answer_that_lies_about_its_kind_is_not_run(browser, broker):
    """A refusal repeats the name that was asked for: as JSON, which no browser sniffs."""
    url = f"{browser.base}/api/queues/%2F/{part('<script>xss()</script>')}"
    browser.driver.get(url)
    assert browser.executed() == 0
    browser.driver.get(browser.base + "/")
