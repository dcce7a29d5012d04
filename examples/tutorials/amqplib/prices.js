#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 6, questions and answers: a request says where its answer goes, and which one it is.
//
//     prices.js serve             until Ctrl-C
//     prices.js ask ARTICLE COUNT
"use strict";

const { randomUUID } = require("crypto");
const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const QUEUE = "tutorial.prices";
const CENTS = new Map([["apple", 40], ["pear", 55], ["melon", 290]]);
const TIMEOUT_MS = 10000;

function answerTo(question) {
    if (!CENTS.has(question.article)) {
        return { error: `there is no ${question.article}` };
    }
    return { cents: CENTS.get(question.article) * question.count };
}

async function serve(channel) {
    await channel.assertQueue(QUEUE, { durable: true });
    await channel.prefetch(1);
    console.log("waiting");
    await channel.consume(QUEUE, (message) => {
        const { replyTo, correlationId } = message.properties;
        const answer = JSON.stringify(answerTo(JSON.parse(message.content)));
        channel.sendToQueue(replyTo, Buffer.from(answer), { correlationId });
        channel.ack(message);
    });
}

async function ask(channel, article, count) {
    const correlationId = randomUUID();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const answer = new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("nobody has answered")), TIMEOUT_MS);
        channel.consume(queue, (message) => {
            if (message.properties.correlationId === correlationId) {
                clearTimeout(timer);
                resolve(JSON.parse(message.content));
            }
        }, { noAck: true });
    });
    // A question that nobody has answered in time is of no use to anybody: it expires.
    const question = JSON.stringify({ article, count: Number(count) });
    channel.sendToQueue(QUEUE, Buffer.from(question),
        { replyTo: queue, correlationId, expiration: TIMEOUT_MS });
    const { error, cents } = await answer;
    console.log(error || `${count} ${article}: ${cents} cents`);
}

async function main(role, ...words) {
    if (role !== "serve" && !(role === "ask" && words.length === 2)) {
        throw new Error("usage: prices.js serve | ask ARTICLE COUNT");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createChannel();
    if (role === "serve") {
        process.once("SIGINT", () => connection.close());
        await serve(channel);
        return;
    }
    await ask(channel, ...words);
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
