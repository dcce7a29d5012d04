#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 6, questions and answers: a request says where its answer goes, and which one it is.

    prices.py serve             until Ctrl-C
    prices.py ask ARTICLE COUNT
"""

import json
import os
import sys
import uuid

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
QUEUE = "tutorial.prices"
CENTS = {"apple": 40, "pear": 55, "melon": 290}
TIMEOUT_S = 10


def answer_to(question):
    if question["article"] not in CENTS:
        return {"error": f"there is no {question['article']}"}
    return {"cents": CENTS[question["article"]] * question["count"]}


def serve(channel):
    def on_question(_channel, method, properties, body):
        answer = answer_to(json.loads(body))
        channel.basic_publish(
            exchange="", routing_key=properties.reply_to, body=json.dumps(answer),
            properties=pika.BasicProperties(correlation_id=properties.correlation_id))
        channel.basic_ack(method.delivery_tag)

    channel.queue_declare(QUEUE, durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(QUEUE, on_question)
    print("waiting", flush=True)
    channel.start_consuming()


def ask(channel, article, count):
    own_id = str(uuid.uuid4())
    answers = channel.queue_declare("", exclusive=True).method.queue
    # A question that nobody has answered in time is of no use to anybody: it expires.
    channel.basic_publish(exchange="", routing_key=QUEUE,
                          body=json.dumps({"article": article, "count": int(count)}),
                          properties=pika.BasicProperties(reply_to=answers, correlation_id=own_id,
                                                          expiration=str(TIMEOUT_S * 1000)))
    for _method, properties, body in channel.consume(answers, auto_ack=True,
                                                     inactivity_timeout=TIMEOUT_S):
        if properties is None:
            sys.exit("nobody has answered")
        if properties.correlation_id == own_id:
            answer = json.loads(body)
            print(answer.get("error") or f"{count} {article}: {answer['cents']} cents")
            return


def main(role="", *words):
    if (role, len(words)) not in (("serve", 0), ("ask", 2)):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    if role == "serve":
        serve(channel)
    else:
        ask(channel, *words)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
