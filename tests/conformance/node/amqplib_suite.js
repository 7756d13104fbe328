'use strict';
// node amqplib. `node amqplib_suite.js` runs the present release; with `old` as its argument, 0.10.5, which proposes frame_max 4096.

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { Suite, until, within } = require('./check');

const old = process.argv[2] === 'old';
const amqp = require(old ? 'amqplib-4096' : 'amqplib');
const url = process.env.CONFORMANCE_URL;
const suite = new Suite(old ? 'amqplib 0.10.5' : 'amqplib');
const check = suite.check.bind(suite);

const name = (stem) => `conformance.node.${stem}.${randomBytes(6).toString('hex')}`;
const text = (message) => message.content.toString();

async function open() {
  const connection = await amqp.connect(url);
  connection.on('error', () => {});
  return connection;
}

async function channelOf(connection, kind = 'createChannel') {
  const channel = await connection[kind]();
  channel.on('error', () => {});
  return channel;
}

const get = (channel, queue, options = { noAck: true }) => until(() => channel.get(queue, options), `a message in ${queue}`);

/** Checks that an action closes its channel with a code, and that the connection works on. */
async function refused(connection, what, code, action) {
  const channel = await connection.createChannel();
  const failure = once(channel, 'error').catch((error) => [error]);
  channel.on('error', () => {});
  await Promise.resolve(action(channel)).catch(() => {});
  const [error] = await within(failure, `${what}: an error`);
  check(`${what}: code`, error.code, code);
  const other = await channelOf(connection);
  check(`${what}: the connection works on`, typeof (await other.assertQueue('', { exclusive: true })).queue, 'string');
}

suite.scenario('properties and headers come out as they went in', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  check('a name was made', queue.startsWith('amq.gen-'));
  const headers = {
    text: 'ü', yes: true, no: false, small: 1, negative: -1, byte: 200, large: 2 ** 40, fraction: 0.5,
    array: [1, 'two', [true]], table: { deep: { deeper: 1 } }, nothing: null,
    decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
    time: { '!': 'timestamp', value: 1700000000 },
    float: { '!': 'float', value: 1.5 }, short: { '!': 'int16', value: -300 }, octet: { '!': 'int8', value: -3 },
    wide: { '!': 'int64', value: 12345 },
    raw: Buffer.from([0, 255]),
  };
  const properties = {
    contentType: 'text/plain', contentEncoding: 'utf8', priority: 3, correlationId: 'c', replyTo: 'r', expiration: '60000',
    messageId: 'm', timestamp: 1700000000, type: 't', userId: 'guest', appId: 'a',
  };
  channel.sendToQueue(queue, Buffer.from('body'), { ...properties, headers, persistent: true });
  const message = await get(channel, queue);
  check('body', text(message), 'body');
  for (const [key, value] of Object.entries(properties)) check(key, message.properties[key], value);
  check('deliveryMode', message.properties.deliveryMode, 2);
  const unwrapped = { ...headers, float: 1.5, short: -300, octet: -3, wide: 12345 };
  for (const [key, value] of Object.entries(unwrapped)) check(`header ${key}`, message.properties.headers[key], value);
});

suite.scenario('bodies of many frames, and none', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const size of [0, 1, 4087, 4088, 4089, 131064, 1000003]) {
    const body = randomBytes(size);
    channel.sendToQueue(queue, body);
    check(`${size} bytes`, (await get(channel, queue)).content.equals(body));
  }
  check('frame_max', connection.connection.frameMax, old ? 4096 : 131072);
});

suite.scenario('confirms', async (connection) => {
  const channel = await channelOf(connection, 'createConfirmChannel');
  const { queue } = await channel.assertQueue('', { exclusive: true });
  let confirmed = 0;
  for (let n = 0; n < 500; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)), {}, (error) => { if (!error) confirmed += 1; });
  await within(channel.waitForConfirms(), 'confirms');
  check('all confirmed', confirmed, 500);
  check('all there', (await channel.checkQueue(queue)).messageCount, 500);
});

suite.scenario('a nack of reject-publish', async (connection) => {
  const channel = await channelOf(connection, 'createConfirmChannel');
  const { queue } = await channel.assertQueue('', { exclusive: true, maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } });
  const outcomes = [];
  for (let n = 0; n < 3; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)), {}, (error) => outcomes.push(error ? 'nack' : 'ack'));
  await until(() => outcomes.length === 3, 'three confirms');
  check('outcomes', outcomes, ['ack', 'nack', 'nack']);
});

suite.scenario('a return comes before its confirm', async (connection) => {
  const channel = await channelOf(connection, 'createConfirmChannel');
  const seen = [];
  channel.on('return', (message) => seen.push(['return', message.fields.replyCode, message.fields.replyText, text(message)]));
  channel.publish('', 'conformance.none', Buffer.from('back'), { mandatory: true }, (error) => seen.push(['confirm', error ?? null]));
  await within(channel.waitForConfirms(), 'the confirm');
  check('order', seen, [['return', 312, 'NO_ROUTE', 'back'], ['confirm', null]]);
});

suite.scenario('consuming in order with manual acks and a prefetch', async (connection) => {
  const channel = await channelOf(connection);
  await channel.prefetch(10);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (let n = 0; n < 200; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)));
  const got = [];
  let held = 0;
  let most = 0;
  await channel.consume(queue, (message) => {
    held += 1;
    most = Math.max(most, held);
    got.push(Number(text(message)));
    setImmediate(() => { held -= 1; channel.ack(message); });
  });
  await until(() => got.length === 200, '200 deliveries');
  check('order', got, [...Array(200).keys()]);
  check('never more than the prefetch', most <= 10);
});

suite.scenario('ackAll, nackAll, reject, recover', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const ready = async () => (await channel.checkQueue(queue)).messageCount;
  for (let n = 0; n < 4; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)));
  for (let n = 0; n < 4; n += 1) await get(channel, queue, {});
  channel.nackAll(true);
  await until(async () => (await ready()) === 4, 'all back');
  const first = await get(channel, queue, {});
  check('in their places, marked', [text(first), first.fields.redelivered], ['0', true]);
  channel.reject(first, false);
  for (let n = 0; n < 3; n += 1) await get(channel, queue, {});
  await channel.recover();
  check('recovered', await ready(), 3);
  for (let n = 0; n < 3; n += 1) await get(channel, queue, {});
  channel.ackAll();
  await channel.recover();
  check('all acknowledged', await ready(), 0);
});

suite.scenario('exchanges of every type', async (connection) => {
  const channel = await channelOf(connection);
  for (const [type, pattern, args, key, headers] of [
    ['direct', 'k', {}, 'k', {}],
    ['fanout', '', {}, 'x', {}],
    ['topic', 'a.*.#', {}, 'a.b.c', {}],
    ['headers', '', { 'x-match': 'all', h: 1 }, '', { h: 1, more: 2 }],
  ]) {
    const { exchange } = await channel.assertExchange(name('exchange'), type, { autoDelete: true, durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, exchange, pattern, args);
    channel.publish(exchange, key, Buffer.from(type), { headers });
    check(type, text(await get(channel, queue)), type);
  }
  const upper = (await channel.assertExchange(name('upper'), 'fanout', { autoDelete: true, durable: false })).exchange;
  const lower = (await channel.assertExchange(name('lower'), 'fanout', { autoDelete: true, durable: false })).exchange;
  await channel.bindExchange(lower, upper, '');
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, lower, '');
  channel.publish(upper, '', Buffer.from('through'));
  check('exchange to exchange', text(await get(channel, queue)), 'through');
  await channel.unbindExchange(lower, upper, '');
});

suite.scenario('an alternate exchange', async (connection) => {
  const channel = await channelOf(connection);
  const rest = (await channel.assertExchange(name('rest'), 'fanout', { autoDelete: true, durable: false })).exchange;
  const { exchange } = await channel.assertExchange(name('exchange'), 'direct', { durable: false, alternateExchange: rest });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, rest, '');
  channel.publish(exchange, 'nobody', Buffer.from('x'));
  check('taken', text(await get(channel, queue)), 'x');
  await channel.deleteExchange(exchange);
});

suite.scenario('TTL, dead letters and x-death', async (connection) => {
  const channel = await channelOf(connection);
  const dead = (await channel.assertQueue('', { exclusive: true })).queue;
  const { queue } = await channel.assertQueue('', { exclusive: true, messageTtl: 30, deadLetterExchange: '', deadLetterRoutingKey: dead });
  channel.sendToQueue(queue, Buffer.from('x'));
  const message = await get(channel, dead);
  const [death] = message.properties.headers['x-death'];
  check('death', [death.count, death.reason, death.queue, death.exchange, death['routing-keys']], [1, 'expired', queue, '', [queue]]);
});

suite.scenario('priorities', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true, maxPriority: 5 });
  for (const priority of [1, 5, 3]) channel.sendToQueue(queue, Buffer.from(String(priority)), { priority });
  await until(async () => (await channel.checkQueue(queue)).messageCount === 3, 'three ready');
  const got = [];
  for (let n = 0; n < 3; n += 1) got.push(text(await get(channel, queue)));
  check('highest first', got, ['5', '3', '1']);
});

suite.scenario('a consumer is told when its queue goes', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue(name('queue'), { durable: false });
  let told = 'nothing yet';
  await channel.consume(queue, (message) => { told = message; });
  const other = await channelOf(connection);
  await other.deleteQueue(queue);
  await until(() => told === null, 'basic.cancel');
  check('null message', told, null);
});

suite.scenario('refusals', async (connection) => {
  await refused(connection, 'passive queue', 404, (channel) => channel.checkQueue('conformance.none'));
  await refused(connection, 'passive exchange', 404, (channel) => channel.checkExchange('conformance.none'));
  await refused(connection, 'unequal', 406, async (channel) => {
    const { queue } = await channel.assertQueue(name('queue'), { durable: false, autoDelete: true });
    await channel.assertQueue(queue, { durable: true, autoDelete: true });
  });
  await refused(connection, 'reserved', 403, (channel) => channel.assertExchange('amq.nonsense', 'direct'));
  await refused(connection, 'unknown delivery tag', 406, (channel) => channel.ack({ fields: { deliveryTag: 99 } }));
  const stranger = await open();
  const owner = await channelOf(connection);
  const { queue } = await owner.assertQueue('', { exclusive: true });
  await refused(stranger, 'locked', 405, (channel) => channel.checkQueue(queue));
  await stranger.close();
});

suite.scenario('a connection error has its code', async () => {
  const connection = await amqp.connect(url);
  const failure = new Promise((resolve) => { connection.on('error', resolve); });
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.consume(queue, () => {}, { consumerTag: 'same' });
  channel.consume(queue, () => {}, { consumerTag: 'same' }).catch(() => {});
  const error = await within(failure, 'the error');
  check('code', error.code, 530);
});

suite.scenario('a wrong password and a wrong vhost', async () => {
  const wrong = new URL(url);
  wrong.password = 'wrong';
  const refusal = await amqp.connect(wrong.href).then(() => 'connected', (error) => error.message);
  check('password', /403|ACCESS.REFUSED/i.test(refusal));
  const nowhere = new URL(url);
  nowhere.pathname = '/nowhere';
  const other = await amqp.connect(nowhere.href).then(() => 'connected', (error) => error.message);
  check('vhost', /ConnectionClose/.test(other));
});

suite.scenario('name and password in a table', async () => {
  const { username, password } = new URL(url);
  const by = (secret) => ({ credentials: amqp.credentials.amqplain(username, secret) });
  const connection = await amqp.connect(url, by(password));
  check('let in', Boolean((await (await channelOf(connection)).assertQueue('', { exclusive: true })).queue));
  await connection.close();
  const refusal = await amqp.connect(url, by('wrong')).then(() => 'connected', (error) => error.message);
  check('password', /403|ACCESS.REFUSED/i.test(refusal));
});

suite.scenario('direct reply-to', async (connection) => {
  const client = await channelOf(connection);
  const server = await channelOf(connection);
  const { queue } = await server.assertQueue('', { exclusive: true });
  await server.consume(queue, (request) => {
    server.sendToQueue(request.properties.replyTo, Buffer.from(`re: ${text(request)}`), { correlationId: request.properties.correlationId });
  }, { noAck: true });
  const replies = [];
  await client.consume('amq.rabbitmq.reply-to', (reply) => replies.push([reply.properties.correlationId, text(reply)]), { noAck: true });
  for (let n = 0; n < 20; n += 1) client.sendToQueue(queue, Buffer.from(String(n)), { replyTo: 'amq.rabbitmq.reply-to', correlationId: String(n) });
  await until(() => replies.length === 20, '20 replies');
  check('replies', replies, [...Array(20).keys()].map((n) => [String(n), `re: ${n}`]));
});

suite.scenario('purge, delete and their conditions', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue(name('queue'), { durable: false });
  for (let n = 0; n < 3; n += 1) channel.sendToQueue(queue, Buffer.from('x'));
  await until(async () => (await channel.checkQueue(queue)).messageCount === 3, 'three ready');
  await refused(connection, 'not empty', 406, (other) => other.deleteQueue(queue, { ifEmpty: true }));
  check('purged', (await channel.purgeQueue(queue)).messageCount, 3);
  check('deleted', (await channel.deleteQueue(queue, { ifEmpty: true, ifUnused: true })).messageCount, 0);
});

suite.scenario('consumer tags and cancelling', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const got = [];
  const { consumerTag } = await channel.consume(queue, (message) => got.push(message), { noAck: true });
  check('a tag was made', consumerTag.startsWith('amq.ctag-'));
  channel.sendToQueue(queue, Buffer.from('x'));
  await until(() => got.length === 1, 'a delivery');
  check('its tag', got[0].fields.consumerTag, consumerTag);
  await channel.cancel(consumerTag);
  channel.sendToQueue(queue, Buffer.from('y'));
  check('then none', [text(await get(channel, queue)), got.length], ['y', 1]);
});

suite.scenario('an exclusive consumer and consumer priorities', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const { consumerTag } = await channel.consume(queue, () => {}, { exclusive: true });
  await refused(connection, 'a second consumer', 403, (other) => other.consume(queue, () => {}));
  await channel.cancel(consumerTag);
  const got = [];
  await channel.consume(queue, () => got.push('low'), { noAck: true, priority: 1 });
  await channel.consume(queue, () => got.push('high'), { noAck: true, priority: 5 });
  for (let n = 0; n < 3; n += 1) channel.sendToQueue(queue, Buffer.from('x'));
  await until(() => got.length === 3, 'three deliveries');
  check('the higher has them', got, ['high', 'high', 'high']);
});

suite.scenario('quorum queues count deliveries', async (connection) => {
  const channel = await channelOf(connection);
  const { queue } = await channel.assertQueue(name('quorum'), { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  channel.sendToQueue(queue, Buffer.from('x'));
  channel.nack(await get(channel, queue, {}));
  const again = await get(channel, queue, {});
  check('x-delivery-count', again.properties.headers['x-delivery-count'], 1);
  await channel.deleteQueue(queue);
});

if (!old) {
  suite.scenario('update-secret', async (connection) => {
    await connection.updateSecret(Buffer.from('guest'), 'renewed');
    check('answered', typeof (await (await channelOf(connection)).assertQueue('', { exclusive: true })).queue, 'string');
  });
}

suite.run(open, (connection) => connection.close());
