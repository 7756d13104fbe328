'use strict';
// node publish_confirmed.js QUEUE COUNT: publishes the numbers from 0 as persistent messages, with confirms, at most WINDOW unconfirmed.

const amqp = require('amqplib');

const WINDOW = 5000;
const [queue, count] = [process.argv[2], Number(process.argv[3])];

async function main() {
  const connection = await amqp.connect(process.env.CONFORMANCE_URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  let [next, confirmed, refused] = [0, 0, 0];
  await new Promise((done, failed) => {
    connection.on('error', failed);
    connection.on('close', () => failed(new Error('the connection was closed')));
    channel.on('error', failed);
    const publish = () => {
      while (next < count && next - confirmed - refused < WINDOW) {
        channel.sendToQueue(queue, Buffer.from(String(next)), { persistent: true }, (error) => {
          if (error) refused += 1;
          else confirmed += 1;
          if (confirmed + refused === count) done();
          else if (next - confirmed - refused === WINDOW / 2) publish();
        });
        next += 1;
      }
    };
    publish();
    if (count === 0) done();
  });
  console.log(`amqplib: ${confirmed} of ${count} confirmed, ${refused} refused`);
  process.exit(confirmed === count ? 0 : 1);
}

main().catch((error) => {
  console.error(`amqplib: ${error.message}`);
  process.exit(1);
});
