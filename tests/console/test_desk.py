# SPDX-License-Identifier: Apache-2.0
"""The dead-letter desk of the console beyond whole groups: chosen messages, slow batches, many groups."""

import pytest


def letters(broker, channel, bodies, name="dead"):
    """Dead letters of that name and of a queue that messages expire in."""
    broker.api.queue(name)
    broker.api.queue("died-in", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name,
                                   "x-message-ttl": 1})
    channel.call("queue.purge", queue=name)
    for body in bodies:
        channel.publish("", "died-in", body)
    channel.wait_for_counts(name, len(bodies), 0)
    broker.api.queue("healed")


def test_chosen_messages_are_replayed_and_the_others_stay(browser, broker, channel):
    letters(broker, channel, [b"one", b"two", b"three"])
    browser.go("dead-letters/%2F/dead")
    browser.press("Look")
    browser.click("(//summary/input)[1]")
    browser.wait_text("1 message chosen")
    browser.click("(//summary/input)[3]")
    browser.wait_text("2 messages chosen")
    href = browser.on("//div[contains(., '2 messages chosen')]/a[.='Export']",
                      lambda at: at.get_attribute("href"))
    assert "ids=" in href
    browser.press("Replay…", "//div[contains(., '2 messages chosen')]")
    browser.field("Where to").send_keys("Another exchange")
    browser.fill("Routing key", "healed")
    browser.press("Dry run", "//dialog")
    browser.wait_text("2 to healed")
    browser.press("Replay", "//dialog")
    browser.wait_text("2 of 2 replayed")
    channel.wait_for_counts("dead", 1, 0)
    assert channel.get("dead").body == b"two"


# Less than one a second was rounded down to none, which means no bound at all.
def test_a_batch_that_goes_slowly_is_still_seen_after_coming_back(browser, broker, channel):
    letters(broker, channel, [b"%d" % number for number in range(50)])
    browser.go("dead-letters/%2F/dead")
    browser.press("Replay…", "//li")
    browser.field("Where to").send_keys("Another exchange")
    browser.fill("Routing key", "healed")
    browser.fill("At most so many", "0.5")
    browser.press("Replay", "//dialog")
    browser.wait_text("of 50 replayed")
    [batch] = [at for at in broker.api.call("GET", "/api/bourse/replays")["replays"] if at["total"] == 50]
    assert batch["rate"] == 1
    browser.go("queues")
    browser.find("//input[@type='search']")
    browser.go("dead-letters/%2F/dead")
    browser.wait_text("of 50 replayed")
    browser.press("Cancel", "//*[@class='batch']")
    browser.wait_text("Cancelled")


@pytest.mark.parametrize("number_of, says", [(3, "3 messages in 3 groups"),
                                             (1002, "1002 messages in more than 1000 groups")])
def test_as_many_groups_are_told_as_there_are(browser, broker, channel, number_of, says):
    broker.api.queue("dead")
    channel.call("queue.purge", queue="dead")
    channel.call("exchange.declare", exchange="many-keys", type="fanout")
    channel.bind("dead", "many-keys", "")
    for number in range(number_of):
        channel.publish("many-keys", f"key-{number}", b"x")
    channel.wait_for_counts("dead", number_of, 0)
    browser.go("dead-letters/%2F/dead")
    browser.wait_text(says)
