#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 3, news for all: every listener gets a copy, and who is not there gets none.
//
//     news.js publish TEXT...
//     news.js listen              until Ctrl-C
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const EXCHANGE = "tutorial.news";

function publish(channel, texts) {
    for (const text of texts) {
        // A fanout exchange looks at no key.
        channel.publish(EXCHANGE, "", Buffer.from(text));
        console.log(`published: ${text}`);
    }
}

async function listen(channel) {
    // A queue without a name gets one of the broker's; exclusive, it ends with this connection.
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.bindQueue(queue, EXCHANGE, "");
    console.log("waiting");
    await channel.consume(queue, (message) => {
        console.log(`news: ${message.content}`);
    }, { noAck: true });
}

async function main(role, ...texts) {
    if (role !== "publish" && role !== "listen") {
        throw new Error("usage: news.js publish TEXT... | listen");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    await channel.assertExchange(EXCHANGE, "fanout", { durable: true });
    if (role === "listen") {
        process.once("SIGINT", () => connection.close());
        await listen(channel);
        return;
    }
    publish(channel, texts);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
