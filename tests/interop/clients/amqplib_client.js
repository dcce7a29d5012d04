// SPDX-License-Identifier: Apache-2.0
// The story of README.md with amqplib, the client of Node.
'use strict';

const fs = require('fs');
const amqp = require('amqplib');

const [url, authority] = process.argv.slice(2);
const name = `interop-node-${process.pid}`;
const options = authority ? { ca: [fs.readFileSync(authority)], servername: 'localhost' } : {};

const done = (step) => console.log(`ok ${step}`);
const assert = (condition, what) => {
  if (!condition) throw new Error(what);
};

function consumeTen(channel) {
  const seen = [];
  return new Promise((resolve, reject) => {
    channel.consume(name, (message) => {
      const number = Number(message.content.toString());
      if (number === 4 && !message.fields.redelivered) {
        channel.nack(message, false, true);
        return;
      }
      channel.ack(message);
      seen.push(number);
      if (seen.length === 10) resolve(seen.sort((a, b) => a - b));
    }, { consumerTag: 'interop' }).catch(reject);
  });
}

async function survivor(channel) {
  for (;;) {
    const message = await channel.get(name, { noAck: true });
    if (message) return message;
  }
}

async function main() {
  let connection = await amqp.connect(url, options);
  let channel = await connection.createConfirmChannel();
  done('connect');

  await channel.assertExchange(name, 'topic', { autoDelete: true, durable: false });
  await channel.assertQueue(name, { durable: true, messageTtl: 600000, maxLength: 1000 });
  await channel.bindQueue(name, name, 'order.*.placed');
  done('declare');

  for (let number = 0; number < 10; number++) {
    channel.publish(name, 'order.eu.placed', Buffer.from(String(number)), {
      persistent: true, headers: { nested: { list: [1, 'two', null, true, 1.5] } },
    });
  }
  done('publish');
  await channel.waitForConfirms();
  done('confirm');

  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.publish(name, 'nowhere', Buffer.from('lost'), { mandatory: true });
  const back = await returned;
  assert(back.fields.replyCode === 312 && back.content.toString() === 'lost', 'return');
  done('return');

  await channel.prefetch(3);
  assert((await consumeTen(channel)).join() === '0,1,2,3,4,5,6,7,8,9', 'consume');
  done('consume');
  done('ack');
  done('nack');
  await channel.cancel('interop');
  assert((await channel.checkQueue(name)).consumerCount === 0, 'cancel');
  done('cancel');

  // An error of one channel leaves the connection in use.
  const lost = await connection.createChannel();
  lost.on('error', () => {});
  const error = await lost.checkQueue('interop-missing').catch((reason) => reason);
  assert(error.code === 404, 'missing queue');

  // A held message comes back after the socket is lost.
  channel.sendToQueue(name, Buffer.from('survivor'), { persistent: true });
  await channel.waitForConfirms();
  await channel.get(name);
  connection.on('error', () => {});
  const closed = new Promise((resolve) => connection.once('close', resolve));
  connection.connection.stream.destroy(new Error('cut'));
  await closed;
  connection = await amqp.connect(url, options);
  channel = await connection.createChannel();
  const message = await survivor(channel);
  assert(message.content.toString() === 'survivor' && message.fields.redelivered, 'redelivery');
  done('reconnect');

  // What nobody takes in its time is gone.
  channel.sendToQueue(name, Buffer.from('short'), { expiration: '50' });
  channel.sendToQueue(name, Buffer.from('long'), { expiration: '60000' });
  while ((await channel.checkQueue(name)).messageCount !== 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const left = await channel.get(name, { noAck: true });
  assert(left.content.toString() === 'long', 'expire');
  done('expire');

  await channel.deleteQueue(name);
  await connection.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
