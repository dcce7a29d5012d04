#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 2, work for several: a task goes to one worker, and to another one if that one dies.
//
//     work.js add NAME SECONDS
//     work.js work                until Ctrl-C; start as many as you like
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const QUEUE = "tutorial.work";

function add(channel, name, seconds) {
    // Durable queue and persistent message: the task outlives a restart of the broker.
    const task = JSON.stringify({ name, seconds: Number(seconds) });
    channel.sendToQueue(QUEUE, Buffer.from(task), { persistent: true });
    console.log(`added: ${name}`);
}

async function work(channel) {
    // One task at a time: who is busy is not handed a second one.
    await channel.prefetch(1);
    console.log("waiting");
    await channel.consume(QUEUE, (message) => {
        const task = JSON.parse(message.content);
        console.log(`begins${message.fields.redelivered ? " again" : ""}: ${task.name}`);
        setTimeout(() => {
            console.log(`done: ${task.name}`);
            // Until here the task is the broker's: if this program dies, another one gets it.
            channel.ack(message);
        }, task.seconds * 1000);
    });
}

async function main(role, ...words) {
    if (!(role === "add" && words.length === 2) && role !== "work") {
        throw new Error("usage: work.js add NAME SECONDS | work");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    await channel.assertQueue(QUEUE, { durable: true });
    if (role === "work") {
        process.once("SIGINT", () => connection.close());
        await work(channel);
        return;
    }
    add(channel, ...words);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
