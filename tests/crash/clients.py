# SPDX-License-Identifier: Apache-2.0
"""Who publishes and who consumes. A client keeps its name over all lives of the broker and has a
link of its own in each; what it does and sees goes into the history at once."""

from crash import bodies
from crash.link import Actor, Link

OUT_BYTES_MAX = 512 * 1024
TRANSIENT_SHARE = 0.05
USER, PASSWORD = "crash", "crash"


class Client(Actor):
    """One connection with channel 1, on which it may publish with confirms."""

    def __init__(self, campaign, name):
        self.campaign, self.history, self.rng = campaign, campaign.history, campaign.rng
        self.name, self.link, self.ready = name, None, False
        # A broker that dies takes with it what it had not processed: the order of a publisher holds
        # from one life to the next.
        self.channel = name
        self.outstanding, self.tag, self.session = {}, 0, ""

    def begin(self, address):
        self.ready, self.tag = False, 0
        self.outstanding = {}           # by tag: (number, copies to settle with it)
        self.session = f"{self.name} of life {self.history.life}"
        self.link = Link(address, self.campaign.selector, self, USER, PASSWORD)

    def on_open(self, link):
        link.send(1, "channel.open")
        self.set_up(link)
        link.flush()

    def set_up(self, link):
        """What follows channel.open; a client is ready when its last answer has come."""
        link.send(1, "confirm.select")

    last_answer = "confirm.select-ok"

    def on_method(self, link, channel, method):
        if method.name == self.last_answer:
            self.ready = True
        elif method.name == "channel.close":
            self.campaign.problem("topology", f"{self.session}: {method}")
            link.send(channel, "channel.close-ok")

    def on_closed(self, method):
        self.ready = False
        if method.reply_code != 320:
            self.campaign.problem("process", f"{self.session}: {method}")

    def on_end(self, link):
        self.ready = False

    def turn(self):
        """Called in every turn of the loop, while the link is ready."""

    def publish(self, exchange, key, queues, settles=(), mandatory=False, transaction=None,
                persistent=True):
        """One message of random size; returns its number. `settles` are (queue, number) of
        acknowledgements sent before, which its confirm puts on disk."""
        size = bodies.draw_size(self.rng, self.campaign.variant.size_max)
        number = self.history.attempt(self.channel, queues, size, transaction, persistent)
        expiration_ms = self.campaign.variant.draw_expiration_ms(self.rng)
        if expiration_ms is not None:
            self.history.expires(number, expiration_ms)
        headers = self.campaign.variant.draw_headers(self.rng, exchange)
        if headers:
            self.history.delays(number, headers)
        self.link.publish(1, exchange, key, number, bodies.make(number, size), mandatory, persistent,
                          expiration_ms, headers)
        if transaction is None:
            self.tag += 1
            self.outstanding[self.tag] = (number, settles)
        return number

    def on_settled(self, tag, multiple, is_ack):
        tags = [tag]
        if multiple:
            tags = []
            for each in self.outstanding:
                if each > tag:
                    break
                tags.append(each)
        for each in tags:
            if each not in self.outstanding:
                self.campaign.problem("process", f"{self.session}: confirm of unknown tag {each}")
                continue
            self._settle(*self.outstanding.pop(each), is_ack)

    def _settle(self, number, settles, is_ack):
        if not is_ack:
            self.history.refuse(number)
            return
        self.history.confirm(number)
        for queue, settled in settles:
            self.history.settle(queue, settled)

    def may_publish(self):
        return (self.ready and len(self.link.out) < OUT_BYTES_MAX
                and self.history.waiting < self.campaign.variant.backlog_max)


class Publisher(Client):
    """Keeps a window of unconfirmed messages full."""

    def __init__(self, campaign, name, targets):
        """`targets` are (exchange, key, queues); each message takes one of them at random."""
        super().__init__(campaign, name)
        self.targets = targets

    def begin(self, address):
        super().begin(address)
        self.window = self.rng.choice((1, 16, 64, 256))

    def turn(self):
        if len(self.outstanding) > self.window // 2:
            return
        while len(self.outstanding) < self.window and self.may_publish():
            self.publish(*self.rng.choice(self.targets),
                         persistent=self.rng.random() >= TRANSIENT_SHARE)
        self.link.flush()


class Consumer(Client):
    """Acknowledges in one of several styles, drawn for each life. After some acknowledgements it
    publishes a receipt: the confirm of that shows that they are on disk as well."""

    last_answer = "basic.consume-ok"
    STYLES = ("eager", "batch", "lazy", "absent")

    def __init__(self, campaign, name, queue):
        super().__init__(campaign, name)
        self.queue, self.style = queue, "eager"
        self.held, self.unproven = {}, []

    def begin(self, address):
        super().begin(address)
        self.held = {}                  # by delivery tag, in order: number
        self.unproven = []              # acknowledged since the last receipt
        self.style = self.campaign.draw_style(self.STYLES)

    def on_open(self, link):
        if self.style == "absent":
            return
        super().on_open(link)

    def set_up(self, link):
        super().set_up(link)
        link.send(1, "basic.qos", prefetch_count=self.rng.choice((1, 10, 100)))
        link.send(1, "basic.consume", queue=self.queue)

    def on_deliver(self, tag, redelivered, number, body):
        self.history.deliver(self.queue, number, redelivered, self.session, body)
        self.held[tag] = number

    def turn(self):
        if not self.held:
            return
        if self.style == "eager":
            self._acknowledge(len(self.held))
        elif self.style == "batch":
            self._acknowledge(self.rng.randint(0, len(self.held)))
        elif self.rng.random() < 0.1:
            self._acknowledge(self.rng.randint(0, len(self.held)))
        if self.style != "eager" and self.held and self.rng.random() < 0.02:
            self._give_back()
        if len(self.unproven) > 20 and not self.campaign.draining:
            self._send_receipt()
        self.link.flush()

    def _acknowledge(self, count):
        """The oldest `count`, at once or one by one in any order."""
        tags = list(self.held)[:count]
        if not tags:
            return
        if self.rng.random() < 0.5:
            self.link.ack(1, tags[-1], multiple=True)
        else:
            self.rng.shuffle(tags)
            for tag in tags:
                self.link.ack(1, tag)
        for tag in tags:
            number = self.held.pop(tag)
            self.history.acknowledge(self.queue, number)
            self.unproven.append((self.queue, number))

    def _give_back(self):
        tag = self.rng.choice(list(self.held))
        self.history.requeue(self.queue)
        self.link.nack(1, tag)
        del self.held[tag]

    def _send_receipt(self):
        self.publish("", self.queue, (self.queue,), tuple(self.unproven))
        self.unproven = []


class Rejecter(Consumer):
    """Acknowledges some messages and rejects others, which die."""

    def turn(self):
        if not self.held:
            return
        for tag in list(self.held)[:self.rng.randint(1, len(self.held))]:
            if self.rng.random() < 0.5:
                self._acknowledge(1)
            else:
                self._reject(tag)
        if len(self.unproven) > 20 and not self.campaign.draining:
            self._send_receipt()
        self.link.flush()

    def _reject(self, tag):
        if tag in self.held:
            self.history.reject(self.queue, self.held.pop(tag))
            self.link.nack(1, tag, requeue=False)

    def _send_receipt(self):
        queues = self.campaign.variant.places(self.queue)
        self.publish("", self.queue, queues, tuple(self.unproven))
        self.unproven = []


class Retrier(Rejecter):
    """Acknowledges some messages and gives back others, which have failed."""

    def on_deliver(self, tag, redelivered, number, body):
        self.history.read_failures(self.queue, number, self.link.headers)
        super().on_deliver(tag, redelivered, number, body)

    def _reject(self, tag):
        if tag in self.held:
            self.history.fail(self.queue, self.held.pop(tag))
            self.link.nack(1, tag)


class Mourner(Consumer):
    """Takes what has died, and reads what it says of its death."""

    def on_deliver(self, tag, redelivered, number, body):
        self.history.read_deaths(self.queue, number, self.link.headers)
        super().on_deliver(tag, redelivered, number, body)

    def _send_receipt(self):
        """Into the queue whose dead these are."""
        source = self.campaign.variant.source_of(self.queue)
        self.publish("", source, self.campaign.variant.places(source), tuple(self.unproven))
        self.unproven = []


class Transactor(Client):
    """Commits publishes, and acknowledgements of what it consumes if it has a queue to consume
    from; rolls one in ten back."""

    def __init__(self, campaign, name, targets, queue=None):
        super().__init__(campaign, name)
        self.targets, self.queue = targets, queue
        self.held, self.transaction = {}, None

    @property
    def last_answer(self):
        return "basic.consume-ok" if self.queue else "tx.select-ok"

    def begin(self, address):
        super().begin(address)
        self.held, self.transaction = {}, None

    def set_up(self, link):
        link.send(1, "tx.select")
        if self.queue:
            link.send(1, "basic.qos", prefetch_count=20)
            link.send(1, "basic.consume", queue=self.queue)

    def on_deliver(self, tag, redelivered, number, body):
        self.history.deliver(self.queue, number, redelivered, self.session, body)
        self.held[tag] = number

    def on_method(self, link, channel, method):
        if method.name == "tx.commit-ok":
            self.history.committed(self.transaction)
            self.transaction = None
        elif method.name == "tx.rollback-ok":
            self.history.rolled_back(self.transaction)
            self.transaction = None
        else:
            super().on_method(link, channel, method)

    def turn(self):
        if self.transaction is not None or not self.may_publish():
            return
        self.transaction = self.history.begin_transaction()
        for _ in range(self.rng.randint(1, 8)):
            self.publish(*self.rng.choice(self.targets), transaction=self.transaction)
        if self.rng.random() < 0.1:
            self._roll_back()
        else:
            self._commit()
        self.link.flush()

    def _roll_back(self):
        """Acknowledgements of it are forgotten: what they were about is still held."""
        for tag in list(self.held)[:3]:
            self.link.ack(1, tag)
        self.link.send(1, "tx.rollback")

    def _commit(self):
        for tag in list(self.held)[:self.rng.randint(0, 8)]:
            self.link.ack(1, tag)
            self.history.acknowledge_in(self.transaction, self.queue, self.held.pop(tag))
        self.history.commit_sent(self.transaction)
        self.link.send(1, "tx.commit")


class Drainer(Client):
    """Takes everything out of one queue."""

    last_answer = "basic.consume-ok"

    def __init__(self, campaign, queue):
        super().__init__(campaign, f"drain of {queue}")
        self.queue, self.closing = queue, False

    def set_up(self, link):
        link.send(1, "basic.qos", prefetch_count=500)
        link.send(1, "basic.consume", queue=self.queue)

    def on_deliver(self, tag, redelivered, number, body):
        self.history.deliver(self.queue, number, redelivered, self.session, body)
        if not self.closing:
            self.history.acknowledge(self.queue, number)
            self.link.ack(1, tag)

    def turn(self):
        self.link.flush()

    def close(self):
        """What still comes is not acknowledged, and goes back to the queue."""
        self.closing = True
        self.history.lose_channel(self.queue)
        self.link.send(0, "connection.close", reply_code=200)
        self.link.flush()
