import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ServiceBusClient } from '@azure/service-bus';
import { startEmulator, type Emulator } from '../../emulator/index.ts';
import { createLeapClock, until, type LeapClock } from '../support/leap.ts';

describe('the control endpoint of the emulator', () => {
  let clock: LeapClock;
  let emulator: Emulator;
  let client: ServiceBusClient;

  before(async () => {
    clock = createLeapClock();
    emulator = await startEmulator({ port: 0, controlPort: 0, clock, topology: { queues: [], topics: [], hubs: [] } });
    client = new ServiceBusClient(emulator.connectionString, { retryOptions: { maxRetries: 0, timeoutInMs: 1_000 } });
  });
  after(async () => {
    await client.close();
    await emulator.close();
  });

  async function ask(method: string, path: string, body?: object | string, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`http://127.0.0.1:${emulator.controlPort}${path}`, { method, headers, ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }) });
    const text = await response.text();
    return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
  }
  const send = (queue: string, body: unknown): Promise<string> => client.createSender(queue).sendMessages({ body }).then(() => 'sent', (error: { code?: string }) => error.code ?? 'failed');
  const countsOf = async (name: string): Promise<Record<string, unknown> | undefined> => ((await ask('GET', '/')).body['queues'] as { name: string }[]).find((queue) => queue.name === name);

  it('creates a queue, which is there at once, says what is in it, and deletes it with all of that', async () => {
    expect(await ask('PUT', '/queues/new', { Properties: { LockDuration: 'PT5S' } })).to.deep.include({ status: 201 });
    expect(await ask('PUT', '/queues/NEW', {})).to.deep.include({ status: 200 });
    expect(await send('new', 1)).to.equal('sent');
    expect(await countsOf('new')).to.deep.include({ active: 1, dead: 0, scheduled: 0, deferred: 0, locked: 0 });
    expect(await ask('DELETE', '/queues/new')).to.deep.include({ status: 204 });
    expect(await send('new', 1)).to.equal('MessagingEntityNotFound');
    expect(await ask('DELETE', '/queues/new')).to.deep.include({ status: 404 });
  });

  it('counts connections', async () => {
    await ask('PUT', '/queues/counted', {});
    await send('counted', 1);
    expect((await ask('GET', '/')).body['connections']).to.equal(1);
  });

  it('refuses a hub by the name of a queue', async () => {
    await ask('PUT', '/queues/taken', {});
    const { status, body } = await ask('PUT', '/hubs/Taken', { PartitionCount: 1 });
    expect(status).to.equal(400);
    expect(JSON.stringify(body)).to.contain('is used for a queue and a hub');
  });

  it('refuses to delete what others forward to', async () => {
    await ask('PUT', '/queues/end', {});
    await ask('PUT', '/queues/start', { Properties: { ForwardTo: 'end' } });
    expect(await ask('DELETE', '/queues/end')).to.deep.include({ status: 400 });
    expect(await ask('DELETE', '/queues/start')).to.deep.include({ status: 204 });
    expect(await ask('DELETE', '/queues/end')).to.deep.include({ status: 204 });
  });

  it('drops sockets, of all or of one entity', async () => {
    await ask('PUT', '/queues/dropped', {});
    await send('dropped', 1);
    expect((await ask('POST', '/faults/drop', { entity: 'elsewhere' })).body).to.deep.equal({ dropped: 0 });
    expect((await ask('POST', '/faults/drop', { entity: 'dropped' })).body).to.deep.equal({ dropped: 1 });
    await until('nobody is connected', async () => (await ask('GET', '/')).body['connections'] === 0);
  });

  it('throttles so many times', async () => {
    await ask('PUT', '/queues/slow', {});
    expect(await ask('POST', '/faults/throttle', { entity: 'slow', times: 1 })).to.deep.include({ status: 204 });
    expect(await send('slow', 1)).to.equal('ServiceBusy');
    expect(await send('slow', 1)).to.equal('sent');
    await ask('POST', '/faults/throttle', { entity: 'slow', times: 5 });
    await ask('DELETE', '/faults');
    expect(await send('slow', 1)).to.equal('sent');
  });

  it('loses answers: what was sent is there, and nobody says so', async () => {
    await ask('PUT', '/queues/mute', {});
    await send('mute', 1);
    await ask('POST', '/faults/lose-answers', { entity: 'mute', times: 1 });
    expect(await send('mute', 2)).to.not.equal('sent');
    expect(await countsOf('mute')).to.deep.include({ active: 2 });
  });

  it('loses locks', async () => {
    await ask('PUT', '/queues/locked', {});
    await send('locked', 1);
    const receiver = client.createReceiver('locked', { maxAutoLockRenewalDurationInMs: 0 });
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 1_000 });
    expect((await ask('POST', '/faults/lose-locks', { entity: 'locked' })).body).to.deep.equal({ lost: 1 });
    const code = await receiver.completeMessage(message!).then(() => 'completed', (error: { code?: string }) => error.code);
    expect(code).to.equal('MessageLockLost');
    expect(await ask('POST', '/faults/lose-locks', { entity: 'elsewhere' })).to.deep.include({ status: 404 });
  });

  it('delays what clients say', async () => {
    await ask('PUT', '/queues/late', {});
    await send('late', 1);
    await ask('POST', '/faults/delay', { milliseconds: 100 });
    const begin = performance.now();
    expect(await send('late', 2)).to.equal('sent');
    expect(performance.now() - begin).to.be.greaterThan(95);
    await ask('DELETE', '/faults');
  });

  it('reads no more than it must of a request that has no end', async () => {
    const { status, body } = await ask('PUT', '/queues/large', `{${' '.repeat(1_100_000)}}`);
    expect(status).to.equal(400);
    expect(JSON.stringify(body)).to.contain('larger than');
  });

  it('refuses whatever a web page sends', async () => {
    expect(await ask('DELETE', '/queues/late', undefined, { origin: 'https://evil.example' })).to.deep.include({ status: 403 });
    expect(await countsOf('late')).to.not.equal(undefined);
  });

  const wrong: [string, string, object | string, number][] = [
    ['PUT', '/queues/bad', '{', 400],
    ['PUT', '/queues/bad', '[]', 400],
    ['PUT', '/queues/bad', { Properties: { LockDuration: 'soon' } }, 400],
    ['PUT', '/queues/bad', { Propertys: {} }, 400],
    ['PUT', '/queues/bad%20name', {}, 400],
    ['PUT', '/queues/%zz', {}, 400],
    ['PUT', '/queues', {}, 404],
    ['PUT', '/tables/x', {}, 404],
    ['PATCH', '/queues/x', {}, 405],
    ['POST', '/faults/drop', { entity: 5 }, 400],
    ['POST', '/faults/delay', {}, 400],
    ['POST', '/faults/delay', { milliseconds: -1 }, 400],
    ['POST', '/faults/throttle', { entity: 'x', times: 1.5 }, 400],
    ['POST', '/faults/throttle', { times: 1 }, 400],
    ['POST', '/faults/burn', {}, 404],
    ['GET', '/faults/drop', '', 405],
    ['GET', '/nothing', '', 404],
  ];
  for (const [method, path, body, status] of wrong) {
    it(`answers ${status} to ${method} ${path} ${JSON.stringify(body).slice(0, 50)}, and creates nothing`, async () => {
      expect(await ask(method, path, method === 'GET' ? undefined : body)).to.deep.include({ status });
      expect(await countsOf('bad')).to.equal(undefined);
    });
  }
});

describe('the command of the emulator', () => {
  const folder = mkdtempSync(join(tmpdir(), 'anyport-emulator-'));
  const children: ChildProcess[] = [];
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  async function run(...args: string[]): Promise<{ out(): string; err(): string; ready: Promise<string>; ended: Promise<number | null>; stop(): void }> {
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'emulator/main.ts', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    let out = '';
    let err = '';
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const ready = new Promise<string>((resolve) => child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()).includes('\n') && resolve(out)));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    return { out: () => out, err: () => err, ready, ended, stop: () => void child.kill('SIGTERM') };
  }

  it('says one line when it is ready, serves what the file says on loopback alone, and stops when told to', async () => {
    const file = join(folder, 'Config.json');
    writeFileSync(file, JSON.stringify({ UserConfig: { Namespaces: [{ Queues: [{ Name: 'from-file', Colour: 1 }] }] } }));
    const command = await run('--port', '0', '--control-port', '0', '--config', file);
    const line = await command.ready;
    const [, connectionString, port] = /^Service Bus and Event Hubs: (Endpoint=sb:\/\/127\.0\.0\.1:(\d+);\S+) control: http:\/\/127\.0\.0\.1:\d+\/\n$/.exec(line)!;
    const client = new ServiceBusClient(connectionString!);
    await client.createSender('from-file').sendMessages({ body: 1 });
    await client.close();
    expect(command.err()).to.contain('/UserConfig/Namespaces/0/Queues/0/Colour is not known');
    for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? []).filter(({ internal, family }) => !internal && family === 'IPv4')) {
      expect(await reachable(address, Number(port)), address).to.equal(false);
    }
    command.stop();
    expect(await command.ended).to.equal(0);
    expect(command.out()).to.equal(line);
  });

  for (const [what, args, says] of [
    ['a port that is none', ['--port', '70000'], '--port must be a port'],
    ['an option that is not known', ['--prot', '1'], '--prot'],
    ['a file that is not there', ['--config', 'nowhere.json'], 'nowhere.json'],
  ] as const) {
    it(`refuses ${what}, says so and how it is used`, async () => {
      const command = await run(...args);
      expect(await command.ended).to.equal(2);
      expect(command.err()).to.contain(says).and.to.contain('npm run emulator -- [--port N]');
      expect(command.out()).to.equal('');
    });
  }
});

function reachable(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 500 });
    const say = (yes: boolean) => (): void => (socket.destroy(), resolve(yes));
    socket.once('connect', say(true)).once('error', say(false)).once('timeout', say(false));
  });
}
