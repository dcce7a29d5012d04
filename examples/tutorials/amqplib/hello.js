#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 1, a queue between two programs: neither waits for the other.
//
//     hello.js send TEXT...
//     hello.js receive            until Ctrl-C
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const QUEUE = "tutorial.hello";

async function send(channel, texts) {
    for (const text of texts) {
        // The exchange "", on which every queue hangs under its own name.
        channel.sendToQueue(QUEUE, Buffer.from(text));
        console.log(`sent: ${text}`);
    }
}

async function receive(channel) {
    console.log("waiting");
    await channel.consume(QUEUE, (message) => {
        console.log(`received: ${message.content}`);
    }, { noAck: true });
}

async function main(role, ...texts) {
    if (role !== "send" && role !== "receive") {
        throw new Error("usage: hello.js send TEXT... | receive");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    // Both declare it: whoever comes first makes it, for the other it is there.
    await channel.assertQueue(QUEUE, { durable: true });
    if (role === "receive") {
        process.once("SIGINT", () => connection.close());
        await receive(channel);
        return;
    }
    await send(channel, texts);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
