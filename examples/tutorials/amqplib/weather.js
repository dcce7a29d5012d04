#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 5, patterns: keys of words with dots between them, such as "north.harbour.wind".
//
//     weather.js report KEY TEXT
//     weather.js watch PATTERN... until Ctrl-C; in a pattern * is one word, # any number of them
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const EXCHANGE = "tutorial.weather";

function report(channel, key, text) {
    channel.publish(EXCHANGE, key, Buffer.from(text));
    console.log(`reported ${key}: ${text}`);
}

async function watch(channel, patterns) {
    const { queue } = await channel.assertQueue("", { exclusive: true });
    for (const pattern of patterns) {
        // However many patterns of one queue match, it gets the message once.
        await channel.bindQueue(queue, EXCHANGE, pattern);
    }
    console.log("waiting");
    await channel.consume(queue, (message) => {
        console.log(`${message.fields.routingKey}: ${message.content}`);
    }, { noAck: true });
}

async function main(role, ...words) {
    if (!(role === "report" && words.length === 2) && !(role === "watch" && words.length > 0)) {
        throw new Error("usage: weather.js report KEY TEXT | watch PATTERN...");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    await channel.assertExchange(EXCHANGE, "topic", { durable: true });
    if (role === "watch") {
        process.once("SIGINT", () => connection.close());
        await watch(channel, words);
        return;
    }
    report(channel, ...words);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
