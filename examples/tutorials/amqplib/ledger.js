#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Step 7, confirms: a publisher knows of each message that the broker has it.
//
//     ledger.js each COUNT        waits for the confirm of one entry before it sends the next
//     ledger.js stream COUNT      sends on, and has at most 100 that are not confirmed
//     ledger.js lost              sends one that no queue takes
"use strict";

const amqp = require("amqplib");

const URL = process.env.AMQP_URL || "amqp://guest:guest@localhost:5672/%2F";
const QUEUE = "tutorial.ledger";
const WINDOW = 100;

function entry(number) {
    return Buffer.from(`entry ${number}`);
}

async function each(channel, count) {
    for (let number = 1; number <= count; number++) {
        channel.sendToQueue(QUEUE, entry(number), { persistent: true });
        await channel.waitForConfirms(); // the broker has it, on disk; a refusal is an exception
    }
    console.log(`confirmed: ${count}`);
}

function stream(channel, count) {
    let sent = 0;
    let confirmed = 0;
    let refused = 0;
    return new Promise((resolve) => {
        function onConfirm(error) {
            if (error) {
                refused++; // the broker does not have it: send it again, or tell
            } else {
                confirmed++;
            }
            if (confirmed + refused === count) {
                console.log(`confirmed: ${confirmed}` + (refused ? `, refused: ${refused}` : ""));
                resolve();
            } else {
                sendOn();
            }
        }
        function sendOn() {
            while (sent < count && sent - confirmed - refused < WINDOW) {
                sent++;
                channel.sendToQueue(QUEUE, entry(sent), { persistent: true }, onConfirm);
            }
        }
        sendOn();
    });
}

async function lost(channel) {
    let isReturned = false;
    channel.once("return", () => { isReturned = true; }); // which comes before the confirm
    channel.sendToQueue("tutorial.nowhere", entry(1), { persistent: true, mandatory: true });
    await channel.waitForConfirms();
    console.log(isReturned ? "returned: no queue takes it" : "taken");
}

async function main(role, count) {
    const roles = { each, stream, lost };
    if (!Object.hasOwn(roles, role || "") || (role === "lost") !== (count === undefined)) {
        throw new Error("usage: ledger.js each COUNT | stream COUNT | lost");
    }
    const connection = await amqp.connect(URL);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(QUEUE, { durable: true });
    await roles[role](channel, Number(count));
    await channel.close();
    await connection.close();
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
});
