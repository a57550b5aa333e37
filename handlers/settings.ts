/**
 * Everything that can be set, from the environment, parsed once and here alone. A wrong setting throws `WrongSetting` with one clear line.
 */
export class WrongSetting extends Error {
  override readonly name = 'WrongSetting';
}

export type PortName = 'queue' | 'stream' | 'store' | 'mailer';
export type Family = 'embedded' | 'memory' | 'azure' | 'aws' | 'smtp';

export interface ShopSettings {
  readonly port: number;
  readonly host: string;
  readonly dataDir: string;
  readonly adapters: Readonly<Record<PortName, Family>>;
  readonly adminToken: string | undefined;
  readonly oidc: OidcSettings | undefined;
  readonly shopName: string;
  readonly shopUrl: string | undefined;
  readonly smtpUrl: string | undefined;
  readonly smtpFrom: string;
  readonly azure: AzureSettings;
  readonly aws: AwsSettings;
  readonly carrier: 'demo';
  readonly demoCarrierDeliversAfterSeconds: number;
  readonly demoCarrierSpeaks: Speech;
  readonly secrets: Readonly<Record<Speech, string | undefined>>;
  readonly websitePollSeconds: number;
  readonly lowStockAt: number;
  readonly sampleCatalogue: boolean;
  readonly rateLimit: boolean;
  readonly logLevel: string;
  readonly telemetry: TelemetrySettings;
}
/** Who may sign in to the console beside whoever has the admin token. */
export interface OidcSettings {
  /** As the provider writes it; below it lies /.well-known/openid-configuration. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Of the ID token: a text or a list of texts, among them `viewer` or `operator`. With dots: within an object. */
  readonly roleClaim: string;
}
/** Where traces and metrics go; nowhere, if both are absent. */
export interface TelemetrySettings {
  readonly otlpEndpoint: string | undefined;
  readonly applicationInsights: string | undefined;
  /** It takes nothing that does not come from an identity. */
  readonly byIdentity: boolean;
}
/** Where the services are: a host name or URL of Azure's, or the connection string of a server on this machine. `undefined`: one is started on this machine. */
export interface AzureSettings {
  readonly serviceBus: string | undefined;
  readonly eventHubs: string | undefined;
  readonly tables: string | undefined;
  readonly table: string;
  readonly email: string | undefined;
  readonly emailFrom: string;
}
/** Where the services are: a region of the cloud (`eu-central-1`), or the URL of a server on this machine. `undefined`: one is started on this machine. */
export interface AwsSettings {
  readonly sqs: string | undefined;
  readonly kinesis: string | undefined;
  readonly dynamodb: string | undefined;
  readonly ses: string | undefined;
  /** Queues and streams are called `<prefix>-<name>`. */
  readonly prefix: string;
  readonly table: string;
  readonly emailFrom: string;
}
export type Speech = 'demo' | 'easypost' | 'shippo' | 'aftership';

interface Row {
  readonly name: string;
  readonly fallback: string;
  readonly meaning: string;
}
/** The list that `npm start -- --help` and the README show. */
export const settingRows: readonly Row[] = [
  { name: 'PORT', fallback: '3000', meaning: 'TCP port of pages and API; 0 takes a free one' },
  { name: 'HOST', fallback: '127.0.0.1', meaning: 'address to listen on; 0.0.0.0 lets others in, and closes the mailbox page' },
  { name: 'DATA_DIR', fallback: '.data', meaning: 'folder for everything that has to last' },
  { name: 'ADAPTERS', fallback: 'embedded', meaning: 'embedded | memory | azure | aws, or one per port: queue=aws,stream=azure,store=embedded,mailer=embedded|memory|azure|aws|smtp' },
  { name: 'ADMIN_TOKEN', fallback: '', meaning: 'bearer token of the admin API, 16 characters or more; none: a random one, printed at start' },
  { name: 'OIDC_ISSUER', fallback: '', meaning: 'https://… of an OpenID Connect provider; with the two below it people sign in to the console with it' },
  { name: 'OIDC_CLIENT_ID', fallback: '', meaning: 'this shop at the provider; its redirect address there is SHOP_URL/console/oidc/back' },
  { name: 'OIDC_CLIENT_SECRET', fallback: '', meaning: 'the secret that belongs to it' },
  { name: 'OIDC_ROLE_CLAIM', fallback: 'roles', meaning: 'claim of the ID token that has viewer or operator in it; realm_access.roles is roles within realm_access' },
  { name: 'SHOP_NAME', fallback: 'Anyport', meaning: 'name in pages and letters' },
  { name: 'SHOP_URL', fallback: '', meaning: 'where customers reach the shop, for links in letters; none: http://localhost:PORT' },
  { name: 'SMTP_URL', fallback: '', meaning: 'smtp(s)://user:password@host:port; none: letters stay in DATA_DIR/mailbox as .eml files' },
  { name: 'SMTP_FROM', fallback: 'shop@anyport.invalid', meaning: 'sender of letters' },
  { name: 'AZURE_SERVICE_BUS', fallback: '', meaning: 'NAME.servicebus.windows.net; none: a server on this machine, as for the three below' },
  { name: 'AZURE_EVENT_HUBS', fallback: '', meaning: 'NAME.servicebus.windows.net' },
  { name: 'AZURE_TABLES', fallback: '', meaning: 'https://NAME.table.core.windows.net' },
  { name: 'AZURE_TABLE', fallback: 'anyport', meaning: 'name of the table' },
  { name: 'AZURE_EMAIL', fallback: '', meaning: 'https://NAME.communication.azure.com' },
  { name: 'AZURE_EMAIL_FROM', fallback: 'DoNotReply@anyport.invalid', meaning: 'sender of letters through Communication Services' },
  { name: 'AWS_SQS', fallback: '', meaning: 'region of the queues, like eu-central-1; none: a server on this machine, as for the three below' },
  { name: 'AWS_KINESIS', fallback: '', meaning: 'region of the streams' },
  { name: 'AWS_DYNAMODB', fallback: '', meaning: 'region of the table' },
  { name: 'AWS_SES', fallback: '', meaning: 'region of the letters' },
  { name: 'AWS_PREFIX', fallback: 'anyport', meaning: 'queues and streams are called <prefix>-<name>' },
  { name: 'AWS_TABLE', fallback: 'anyport', meaning: 'name of the table' },
  { name: 'AWS_EMAIL_FROM', fallback: 'shop@anyport.invalid', meaning: 'sender of letters through SES' },
  { name: 'CARRIER', fallback: 'demo', meaning: 'who takes parcels: demo' },
  { name: 'DEMO_CARRIER_DELIVERS_AFTER_SECONDS', fallback: '20', meaning: 'the demo carrier delivers after so many seconds; 0: never' },
  { name: 'DEMO_CARRIER_SPEAKS', fallback: 'demo', meaning: 'format of its notices: demo | easypost | shippo | aftership (each but demo needs its secret)' },
  { name: 'DEMO_CARRIER_SECRET', fallback: '', meaning: 'signs the demo format; none: a random one' },
  { name: 'EASYPOST_WEBHOOK_SECRET', fallback: '', meaning: 'none: notices of EasyPost are refused' },
  { name: 'SHIPPO_WEBHOOK_SECRET', fallback: '', meaning: 'none: notices of Shippo are refused' },
  { name: 'AFTERSHIP_WEBHOOK_SECRET', fallback: '', meaning: 'none: notices of AfterShip are refused' },
  { name: 'WEBSITE_POLL_SECONDS', fallback: '2', meaning: 'how often the website retrieves ProductInfoUpdated' },
  { name: 'LOW_STOCK_AT', fallback: '10', meaning: 'from so many available units downwards a product is Low' },
  { name: 'SAMPLE_CATALOGUE', fallback: 'on', meaning: 'on | off: an empty store starts with real sample products and their stock' },
  { name: 'RATE_LIMIT', fallback: 'on', meaning: 'on | off: limits on orders, checkouts, notices and wrong tokens per address' },
  { name: 'OTEL_EXPORTER_OTLP_ENDPOINT', fallback: '', meaning: 'http(s)://host:4318 of an OpenTelemetry collector, for traces and metrics; none: they are not made' },
  { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', fallback: '', meaning: 'the same to Application Insights' },
  { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', fallback: '', meaning: 'Authorization=AAD: there as the identity of the program, for it takes nothing without one' },
  { name: 'LOG_LEVEL', fallback: 'warn', meaning: 'debug | info | warn | error | silent' },
];

export function parseSettings(env: Readonly<Record<string, string | undefined>>): ShopSettings {
  const value = (name: string): string => env[name]?.trim() || settingRows.find((row) => row.name === name)!.fallback;
  const optional = (name: string): string | undefined => value(name) || undefined;
  const number = (name: string, min: number, max: number, whole = true): number => {
    const n = Number(value(name));
    if (!Number.isFinite(n) || n < min || n > max || (whole && !Number.isInteger(n))) throw wrong(name, value(name), `a ${whole ? 'whole ' : ''}number from ${min} to ${max}`);
    return n;
  };
  const choice = <T extends string>(name: string, ...choices: T[]): T => {
    const found = choices.find((each) => each === value(name));
    if (found === undefined) throw wrong(name, value(name), choices.join(' | '));
    return found;
  };
  const address = (name: string, protocols: readonly string[]): string | undefined => {
    const text = optional(name);
    if (text === undefined) return undefined;
    if (!URL.canParse(text) || !protocols.includes(new URL(text).protocol)) throw wrong(name, 'its value', `a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`);
    return text.replace(/\/+$/, '');
  };

  const named = (name: string, pattern: RegExp): string => {
    if (!pattern.test(value(name))) throw wrong(name, value(name), `a name like ${settingRows.find((row) => row.name === name)!.fallback}`);
    return value(name);
  };
  /** No other URL: keys and orders go to the cloud or stay on this machine. */
  const place = (name: string): string | undefined => {
    const text = optional(name)?.replace(/\/+$/, '');
    if (text === undefined || /^[a-z]{2,4}(-[a-z]+)+-\d$/.test(text) || /^http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\]):\d{1,5}$/.test(text)) return text;
    throw wrong(name, 'its value', 'a region like eu-central-1, or http://127.0.0.1:PORT');
  };

  const secrets = {
    demo: optional('DEMO_CARRIER_SECRET'),
    easypost: optional('EASYPOST_WEBHOOK_SECRET'),
    shippo: optional('SHIPPO_WEBHOOK_SECRET'),
    aftership: optional('AFTERSHIP_WEBHOOK_SECRET'),
  };
  const demoCarrierSpeaks = choice('DEMO_CARRIER_SPEAKS', 'demo', 'easypost', 'shippo', 'aftership');
  if (demoCarrierSpeaks !== 'demo' && !secrets[demoCarrierSpeaks]) {
    throw new WrongSetting(`DEMO_CARRIER_SPEAKS=${demoCarrierSpeaks} needs ${demoCarrierSpeaks.toUpperCase()}_WEBHOOK_SECRET`);
  }
  const adminToken = optional('ADMIN_TOKEN');
  if (adminToken !== undefined && adminToken.length < 16) throw new WrongSetting('ADMIN_TOKEN must have 16 characters or more');
  const smtpUrl = address('SMTP_URL', ['smtp:', 'smtps:']);
  return {
    port: number('PORT', 0, 65_535),
    host: value('HOST'),
    dataDir: value('DATA_DIR'),
    adapters: parseAdapters(value('ADAPTERS'), smtpUrl),
    adminToken,
    oidc: oidcOf(address('OIDC_ISSUER', ['https:', 'http:']), optional('OIDC_CLIENT_ID'), optional('OIDC_CLIENT_SECRET'), value('OIDC_ROLE_CLAIM')),
    shopName: value('SHOP_NAME').slice(0, 100),
    shopUrl: address('SHOP_URL', ['http:', 'https:']),
    smtpUrl,
    smtpFrom: value('SMTP_FROM'),
    azure: {
      serviceBus: optional('AZURE_SERVICE_BUS'),
      eventHubs: optional('AZURE_EVENT_HUBS'),
      tables: optional('AZURE_TABLES'),
      table: value('AZURE_TABLE'),
      email: optional('AZURE_EMAIL'),
      emailFrom: value('AZURE_EMAIL_FROM'),
    },
    aws: {
      sqs: place('AWS_SQS'),
      kinesis: place('AWS_KINESIS'),
      dynamodb: place('AWS_DYNAMODB'),
      ses: place('AWS_SES'),
      prefix: named('AWS_PREFIX', /^[A-Za-z0-9_-]{1,40}$/),
      table: named('AWS_TABLE', /^[A-Za-z0-9_.-]{3,255}$/),
      emailFrom: value('AWS_EMAIL_FROM'),
    },
    carrier: choice('CARRIER', 'demo'),
    demoCarrierDeliversAfterSeconds: number('DEMO_CARRIER_DELIVERS_AFTER_SECONDS', 0, 86_400, false),
    demoCarrierSpeaks,
    secrets,
    websitePollSeconds: number('WEBSITE_POLL_SECONDS', 0.05, 3_600, false),
    lowStockAt: number('LOW_STOCK_AT', 0, 1_000_000),
    sampleCatalogue: choice('SAMPLE_CATALOGUE', 'on', 'off') === 'on',
    rateLimit: choice('RATE_LIMIT', 'on', 'off') === 'on',
    logLevel: choice('LOG_LEVEL', 'debug', 'info', 'warn', 'error', 'silent'),
    telemetry: {
      otlpEndpoint: address('OTEL_EXPORTER_OTLP_ENDPOINT', ['http:', 'https:']),
      applicationInsights: insights(optional('APPLICATIONINSIGHTS_CONNECTION_STRING')),
      byIdentity: /(^|;)\s*Authorization=AAD\s*(;|$)/i.test(value('APPLICATIONINSIGHTS_AUTHENTICATION_STRING')),
    },
  };
}

/** All three or none: half a sign-in would be found out by the first person who tries it. Plain http is for a provider on this machine. */
function oidcOf(issuer: string | undefined, clientId: string | undefined, clientSecret: string | undefined, roleClaim: string): OidcSettings | undefined {
  const missing = Object.entries({ OIDC_ISSUER: issuer, OIDC_CLIENT_ID: clientId, OIDC_CLIENT_SECRET: clientSecret }).filter(([, each]) => each === undefined).map(([name]) => name);
  if (missing.length === 3) return undefined;
  if (issuer === undefined || clientId === undefined || clientSecret === undefined) throw new WrongSetting(`the sign-in with OpenID Connect needs ${missing.join(' and ')} as well`);
  const { protocol, hostname } = new URL(issuer);
  if (protocol !== 'https:' && !/^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)) throw wrong('OIDC_ISSUER', 'its value', 'a URL that begins with https://');
  return { issuer, clientId, clientSecret, roleClaim };
}

function insights(text: string | undefined): string | undefined {
  if (text === undefined || /(^|;)\s*InstrumentationKey=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(;|$)/i.test(text)) return text;
  throw wrong('APPLICATIONINSIGHTS_CONNECTION_STRING', 'its value', 'a connection string with an InstrumentationKey');
}

const wrong = (name: string, value: string, wanted: string): WrongSetting => new WrongSetting(`${name} is ${value === 'its value' ? 'wrong' : JSON.stringify(value)}; it must be ${wanted}`);

const families: Readonly<Record<PortName, readonly Family[]>> = {
  queue: ['embedded', 'memory', 'azure', 'aws'],
  stream: ['embedded', 'memory', 'azure', 'aws'],
  store: ['embedded', 'memory', 'azure', 'aws'],
  mailer: ['embedded', 'memory', 'azure', 'aws', 'smtp'],
};

function parseAdapters(text: string, smtpUrl: string | undefined): Record<PortName, Family> {
  const whole = families.store.find((family) => family === text);
  const mailer: Family = smtpUrl ? 'smtp' : (whole ?? 'embedded');
  if (whole) return { queue: whole, stream: whole, store: whole, mailer };
  const chosen: Record<PortName, Family> = { queue: 'embedded', stream: 'embedded', store: 'embedded', mailer };
  for (const part of text.split(',')) {
    const [name = '', family = ''] = part.trim().split('=');
    const known = families[name as PortName];
    if (!known) throw new WrongSetting(`ADAPTERS: ${JSON.stringify(part)} is neither ${families.store.join(', ')} nor PORT=FAMILY with a port of ${Object.keys(families).join(', ')}`);
    if (!known.includes(family as Family)) throw new WrongSetting(`ADAPTERS: ${name} can be ${known.join(' | ')}, not ${JSON.stringify(family)}`);
    chosen[name as PortName] = family as Family;
  }
  if (chosen.mailer === 'smtp' && !smtpUrl) throw new WrongSetting('ADAPTERS: mailer=smtp needs SMTP_URL');
  return chosen;
}

/** Whether only this machine can reach the shop. */
export function isPrivate({ host }: Pick<ShopSettings, 'host'>): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** Which of Azure's services are started on this machine, for want of an address. */
export function azureNeeds({ adapters, azure }: Pick<ShopSettings, 'adapters' | 'azure'>): { readonly broker: boolean; readonly tables: boolean; readonly email: boolean } {
  return {
    broker: (adapters.queue === 'azure' && azure.serviceBus === undefined) || (adapters.stream === 'azure' && azure.eventHubs === undefined),
    tables: adapters.store === 'azure' && azure.tables === undefined,
    email: adapters.mailer === 'azure' && azure.email === undefined,
  };
}

/** The same of AWS's. */
export function awsNeeds({ adapters, aws }: Pick<ShopSettings, 'adapters' | 'aws'>): { readonly queues: boolean; readonly streams: boolean; readonly store: boolean; readonly email: boolean } {
  return {
    queues: adapters.queue === 'aws' && aws.sqs === undefined,
    streams: adapters.stream === 'aws' && aws.kinesis === undefined,
    store: adapters.store === 'aws' && aws.dynamodb === undefined,
    email: adapters.mailer === 'aws' && aws.ses === undefined,
  };
}

/** Where the servers on this machine keep what they know. */
export const azureFolder = (dataDir: string): string => `${dataDir}/azure`;
export const awsFolder = (dataDir: string): string => `${dataDir}/aws`;

/** True when no other process can work on the same data: it lies in this one's memory or in its folder, which it has to itself. */
export function isAlone(settings: Pick<ShopSettings, 'adapters' | 'azure' | 'aws'>): boolean {
  const { adapters: { store }, azure, aws } = settings;
  return !(store === 'azure' && azure.tables !== undefined) && !(store === 'aws' && aws.dynamodb !== undefined);
}

/** True when a crash forgets some ports and not others: what one remembers, another has lost. */
export function isMixed(adapters: ShopSettings['adapters']): boolean {
  const kinds = new Set([adapters.queue, adapters.stream, adapters.store].map((family) => family === 'memory'));
  return kinds.size > 1;
}
