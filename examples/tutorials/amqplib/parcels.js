#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 4, a choice: each depot hears of the parcels for its cities, and of no others.
//
//     parcels.js send CITY TEXT
//     parcels.js watch CITY...    until Ctrl-C
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const EXCHANGE = "tutorial.parcels";

function send(channel, city, text) {
    channel.publish(EXCHANGE, city, Buffer.from(text));
    console.log(`sent to ${city}: ${text}`);
}

async function watch(channel, cities) {
    const { queue } = await channel.assertQueue("", { exclusive: true });
    for (const city of cities) {
        // A direct exchange compares the key of the message with that of the binding.
        await channel.bindQueue(queue, EXCHANGE, city);
    }
    console.log("waiting");
    await channel.consume(queue, (message) => {
        console.log(`for ${message.fields.routingKey}: ${message.content}`);
    }, { noAck: true });
}

async function main(role, ...words) {
    if (!(role === "send" && words.length === 2) && !(role === "watch" && words.length > 0)) {
        throw new Error("usage: parcels.js send CITY TEXT | watch CITY...");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    await channel.assertExchange(EXCHANGE, "direct", { durable: true });
    if (role === "watch") {
        process.once("SIGINT", () => connection.close());
        await watch(channel, words);
        return;
    }
    send(channel, ...words);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
