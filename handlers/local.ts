import { mkdir } from 'node:fs/promises';
import { httpPost } from '../adapters/carriers/carrier.ts';
import { sweepOpenOrders } from '../core/inventory/index.ts';
import { sweepClaims } from '../core/notification/index.ts';
import { sweepBookings } from '../core/shipping/index.ts';
import { website } from '../core/website/index.ts';
import { PortError } from '../ports/index.ts';
import { leaveAddress, takeAddress } from './address.ts';
import { openShop, type Shop, type Surroundings } from './container.ts';
import { services } from './index.ts';
import { startPump, type Pump } from './pump.ts';
import { loadSamples } from './samples.ts';
import { startServer, type Server } from './server.ts';
import { WrongSetting, awsNeeds, azureNeeds, isAlone, isMixed, isPrivate, parseSettings, settingRows, type ShopSettings } from './settings.ts';

/** THE LOCAL HOST: all six services, the demo carrier and the web server in one process. `npm start` runs this file. */

export interface Local {
  readonly shop: Shop;
  readonly server: Server;
  readonly url: string;
  readonly adminToken: string;
  stop(): Promise<void>;
}

/** Opens everything, makes good what an earlier process left half-done, and serves. */
export async function startLocal(settings: ShopSettings, surroundings: Omit<Surroundings, 'post' | 'shopUrl'> = {}): Promise<Local> {
  await mkdir(settings.dataDir, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new WrongSetting(`DATA_DIR ${settings.dataDir} cannot be made: ${cause.code ?? cause.message}`);
  });
  let post: ReturnType<typeof httpPost> | undefined;
  let url = `http://localhost:${settings.port}`;
  const shop = await openShop(settings, {
    ...surroundings,
    shopUrl: () => url,
    post(path, headers, body) {
      if (!post) throw new PortError('throttled', 'the web server is not up yet');
      return post(path, headers, body);
    },
  });
  const { kernel } = shop;
  const openedAt = kernel.clock.now();
  let server: Server | undefined;
  let pump: Pump | undefined;
  try {
    const adminToken = settings.adminToken ?? kernel.ids.random();
    let ready = false;
    server = await startServer({ port: settings.port, host: settings.host, context: { kernel, adminToken, rateLimit: settings.rateLimit, ...(settings.oidc ? { oidc: settings.oidc } : {}) }, ready: () => ready, log: kernel.log });
    url = server.url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');
    post = httpPost(url);
    if (settings.sampleCatalogue) await loadSamples(kernel);
    pump = startPump(kernel, services, {
      everySeconds: { pollProducts: settings.websitePollSeconds, sweepBookings: 10, sweepClaims: 30 },
      shared: !isAlone(settings),
      timers: [{ name: 'demoCarrier', everySeconds: 0.5, tick: () => shop.carrier.tick() }, ...shop.chores],
    });
    await website.ticks.pollProducts(kernel);
    ready = true;
    if (isAlone(settings)) void goOn(shop, openedAt);
    await leaveAddress(settings.dataDir, { url, token: adminToken }).catch((error: unknown) => kernel.log.warn({ error }, 'the command line will not find this shop by itself'));
    const stop = async (): Promise<void> => {
      await takeAddress(settings.dataDir, { url }).catch((error: unknown) => kernel.log.warn({ error }, 'the address of this shop stays behind'));
      await stopAll(server, pump, shop);
    };
    return { shop, server, url, adminToken, stop };
  } catch (error) {
    await stopAll(server, pump, shop);
    throw error;
  }
}

async function stopAll(server: Server | undefined, pump: Pump | undefined, shop: Shop): Promise<void> {
  await server?.close();
  await pump?.stop();
  await shop.close();
}

/** Nobody else works on this data, so what was half-done before it was opened belongs to a process that is gone: it need not wait for its time. */
export async function goOn({ kernel }: Pick<Shop, 'kernel'>, openedAt: number): Promise<void> {
  const secondsOpen = (): number => (kernel.clock.now() - openedAt) / 1_000;
  try {
    await kernel.relay.sweep(secondsOpen(), 'alone');
    await sweepOpenOrders(kernel, secondsOpen());
    await sweepBookings(kernel, secondsOpen());
    await sweepClaims(kernel, secondsOpen());
  } catch (error) {
    kernel.log.warn({ error }, 'what was left half-done is left to the timers');
  }
}

function help(): string {
  const width = Math.max(...settingRows.map(({ name }) => name.length));
  const rows = settingRows.map(({ name, fallback, meaning }) => `  ${name.padEnd(width)}  ${meaning}${fallback === '' ? '' : ` [${fallback}]`}`);
  return ['Anyport: an order system for a web shop, all of it in this process.', '', 'Usage: [SETTING=value …] npm start', '', 'Settings come from the environment:', ...rows].join('\n');
}

function whereLettersAre({ adapters: { mailer }, ...settings }: ShopSettings, url: string): string {
  if (mailer === 'smtp') return 'sent by SMTP';
  if (mailer === 'azure' && settings.azure.email !== undefined) return 'sent by Azure Communication Services';
  if (mailer === 'aws' && settings.aws.ses !== undefined) return `sent by SES in ${settings.aws.ses}`;
  if (isPrivate(settings)) return `${url}/mailbox`;
  return mailer === 'memory' ? 'in memory' : `${settings.dataDir}/mailbox`;
}

function whereDataIs(settings: ShopSettings): string {
  const { adapters: { store }, azure, aws, dataDir } = settings;
  if (store === 'memory') return 'in memory; gone when this process ends';
  if (store === 'aws' && aws.dynamodb !== undefined) return `table ${aws.table} in ${aws.dynamodb}`;
  return store === 'azure' && azure.tables !== undefined ? azure.tables : dataDir;
}

/** Which of Azure's services are really there, and which are played by this machine. */
function azureLines(settings: ShopSettings): string[] {
  const { adapters, azure } = settings;
  const needs = azureNeeds(settings);
  const played = [...(needs.broker ? ['Service Bus and Event Hubs by the emulator'] : []), ...(needs.tables ? ['Table Storage by Azurite'] : []), ...(needs.email ? ['e-mail by a stand-in'] : [])];
  const real = [
    ...(adapters.queue === 'azure' ? [azure.serviceBus] : []), ...(adapters.stream === 'azure' ? [azure.eventHubs] : []), ...(adapters.store === 'azure' ? [azure.tables] : []), ...(adapters.mailer === 'azure' ? [azure.email] : []),
  ].flatMap((address) => (address === undefined ? [] : [/^[a-z]+:|;/.test(address) ? address.replace(/SharedAccessKey=[^;]*|accesskey=[^;]*|AccountKey=[^;]*/gi, '…') : address]));
  return [...(played.length > 0 ? [`on this machine: ${played.join(', ')}`] : []), ...new Set(real)];
}

/** The same of AWS's. */
function awsLines(settings: ShopSettings): string[] {
  const { adapters: { queue, stream, store, mailer }, aws } = settings;
  const needs = awsNeeds(settings);
  const played = [
    ...(needs.queues ? ['SQS by fauxqs'] : []), ...(needs.streams ? ['Kinesis by kinesalite'] : []), ...(needs.store ? ['DynamoDB by DynamoDB Local'] : []), ...(needs.email ? ['SES by aws-ses-v2-local'] : []),
  ];
  const real = [
    ...(queue === 'aws' && aws.sqs ? [`SQS in ${aws.sqs}`] : []), ...(stream === 'aws' && aws.kinesis ? [`Kinesis in ${aws.kinesis}`] : []),
    ...(store === 'aws' && aws.dynamodb ? [`DynamoDB in ${aws.dynamodb}`] : []), ...(mailer === 'aws' && aws.ses ? [`SES in ${aws.ses}`] : []),
  ];
  return [...(played.length > 0 ? [`on this machine: ${played.join(', ')}`] : []), ...(real.length > 0 ? [real.join(', ')] : [])];
}

function banner({ url, adminToken }: Local, settings: ShopSettings, milliseconds: number): string {
  const named = (name: string, lines: readonly string[]): string[] => lines.map((line, i) => `  ${(i === 0 ? name : '').padEnd(9)} ${line}`);
  const lines = [
    '',
    `  ${settings.shopName} is open`,
    '',
    `  Shop      ${url}/`,
    `  Letters   ${whereLettersAre(settings, url)}`,
    `  API       ${url}/openapi.json  ·  events ${url}/asyncapi.json`,
    `  Console   ${url}/console`,
    ...(settings.adminToken ? [] : [`  Admin     Authorization: Bearer ${adminToken}`]),
    `  Data      ${whereDataIs(settings)}`,
    ...named('Azure', azureLines(settings)),
    ...named('AWS', awsLines(settings)),
    ...(isMixed(settings.adapters) ? ['', '  Warning   some ports forget on a crash and others do not: orders can get lost. For experiments only.'] : []),
    '',
    `  Started in ${milliseconds} ms. Ctrl-C stops it.`,
    '',
  ];
  return lines.join('\n');
}

async function main(): Promise<void> {
  if (process.argv.slice(2).some((word) => word === '--help' || word === '-h')) return console.log(help());
  const settings = parseSettings(process.env);
  // On Node 20 the SDK of AWS would say at every start that its versions of next year want another one. Ours are locked.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const starting = startLocal(settings);
  let stopping = false;
  // From the first moment: a signal during the start is obeyed when there is something to close.
  const stop = (): void => {
    if (stopping) process.exit(130);
    stopping = true;
    console.log('  Closing …');
    void starting.then((local) => local.stop()).then(() => process.exit(0), (error: unknown) => {
      complain(error);
      process.exit(1);
    });
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const local = await starting;
  if (!stopping) console.log(banner(local, settings, Math.round(performance.now())));
}

/** What a person can mend is one line; anything else is ours, and shows where. */
function complain(error: unknown): void {
  const plain = error instanceof WrongSetting || error instanceof PortError;
  console.error(plain ? `anyport: ${error.message}` : error);
  process.exitCode = 1;
}

if (import.meta.url === `file://${process.argv[1]}`) main().catch(complain);
