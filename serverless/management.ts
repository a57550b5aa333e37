import { ResourceManagementClient, type ResourceGroup } from '@azure/arm-resources';
import type { TokenCredential } from '@azure/core-auth';
import { bearerTokenAuthenticationPolicyName, createHttpHeaders, createPipelineRequest, isRestError, type PipelinePolicy, type PipelineRequest, type PipelineResponse } from '@azure/core-rest-pipeline';
import { Complaint } from './complaint.ts';

/**
 * THE MANAGEMENT OF THE CLOUD: resource groups, deployments of templates, and the publisher of an app, as `sls deploy`, `sls remove` and `sls info` need them.
 *
 * - One client and one pipeline for all of it: the vendor's (`@azure/arm-resources`), with its credentials. Release 7 of it has no deployments any more, so those are asked for
 *   by their addresses (https://learn.microsoft.com/rest/api/resources/deployments), through the same pipeline.
 * - Whoever is too busy, or breaks off, is asked again, as late as he says; everything that is asked for here may be asked for twice.
 * - Whatever a person can mend is thrown as a `Complaint` of one line, with the role that is missing if it is one.
 * - The credentials are sent to the vendor's addresses, or to a stand-in at http://127.0.0.1, and to nobody else.
 */

export interface Reach {
  readonly subscription: string;
  readonly credential: TokenCredential;
  /** http://127.0.0.1:PORT, instead of the cloud. */
  readonly standIn?: string;
  readonly say: (line: string) => void;
  readonly sleep: (seconds: number) => Promise<void>;
  /** After which a question counts as lost. An upload has ten times as long. */
  readonly answerSeconds: number;
}

/** https://learn.microsoft.com/rest/api/resources/deployments/get#deploymentextended */
export interface Deployment {
  readonly properties: {
    readonly provisioningState: string;
    readonly timestamp?: string;
    readonly outputs?: Readonly<Record<string, { readonly value: unknown }>>;
    readonly outputResources?: readonly { readonly id: string }[];
    readonly error?: Fault;
  };
}
/** https://learn.microsoft.com/rest/api/resources/deployment-operations/list#deploymentoperation */
export interface Operation {
  readonly operationId: string;
  readonly properties: {
    readonly provisioningState: string;
    readonly targetResource?: { readonly id?: string; readonly resourceType: string; readonly resourceName: string };
    readonly statusMessage?: { readonly error?: Fault };
  };
}
export interface Fault {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly Fault[];
}
/** https://github.com/projectkudu/kudu/wiki/REST-API#deployment */
export interface Publication {
  readonly id: string;
  readonly status: number;
  readonly status_text?: string;
  readonly end_time?: string | null;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Seconds after which to ask again, if it says so. */
  readonly again: number | undefined;
}

export interface Management {
  group(name: string): Promise<ResourceGroup | undefined>;
  makeGroup(name: string, location: string, tags: Readonly<Record<string, string>>): Promise<void>;
  /** Begins; it is gone when `group` says so. */
  removeGroup(name: string): Promise<void>;
  /** Ids and types of what lies in the group. */
  resources(group: string): Promise<{ readonly id: string; readonly type: string }[]>;
  /** By its path under the subscription, with the version of the type; 404 and the statuses in `fine` are answers, every other failure is a complaint about `what`. */
  ask(what: string, method: 'GET' | 'POST' | 'PUT', path: string, body?: object, fine?: readonly number[]): Promise<Answer>;
  /** All items of a list, whatever its pages. */
  list<Item>(what: string, path: string): Promise<Item[]>;
  /** Of the app's own publisher. */
  publisher(host: string): Publisher;
}
export interface Publisher {
  publish(zip: Uint8Array): Promise<Answer>;
  publication(id: string): Promise<Answer>;
}

const triesMax = 6;
const patienceSecondsMax = 300;
const cloud = 'https://management.azure.com';

export function connect({ subscription, credential, standIn, say, sleep, answerSeconds }: Reach): Management {
  const endpoint = standIn ?? cloud;
  const client = new ResourceManagementClient(credential, subscription, {
    endpoint, credentialScopes: `${cloud}/.default`, allowInsecureConnection: standIn !== undefined, retryOptions: { maxRetries: 0 }, userAgentOptions: { userAgentPrefix: 'anyport' },
  });
  client.pipeline.removePolicy({ name: 'defaultRetryPolicy' });
  client.pipeline.addPolicy(patience(say, sleep, answerSeconds), { phase: 'Retry' });
  if (standIn !== undefined) {
    // The vendor's own policy rightly sends no token over plain HTTP. To this machine it may go.
    client.pipeline.removePolicy({ name: bearerTokenAuthenticationPolicyName });
    client.pipeline.addPolicy(bearer(credential, standIn));
  }

  async function send(what: string, method: PipelineRequest['method'], url: string, more: { body?: string | Uint8Array; headers?: Record<string, string>; fine?: readonly number[] } = {}): Promise<Answer> {
    const request = createPipelineRequest({ url, method, headers: createHttpHeaders(more.headers ?? {}), allowInsecureConnection: standIn !== undefined, ...(more.body === undefined ? {} : { body: more.body }) });
    const response = await client.sendRequest(request).catch((error: unknown) => {
      throw complaintOf(what, error);
    });
    const text = response.bodyAsText ?? '';
    if (response.status >= 400 && !more.fine?.includes(response.status)) throw refusal(what, response.status, text);
    return { status: response.status, text, again: againIn(response) };
  }
  const sdk = async <Result>(what: string, work: Promise<Result>): Promise<Result> =>
    work.catch((error: unknown) => {
      throw complaintOf(what, error);
    });
  const at = (path: string): string => `${endpoint}/subscriptions/${encodeURIComponent(subscription)}${path}`;
  const json = { 'content-type': 'application/json' };

  const group = async (name: string): Promise<ResourceGroup | undefined> =>
    client.resourceGroups.get(name).catch((error: unknown) => {
      if (isRestError(error) && error.statusCode === 404 && codeOf(error) === 'ResourceGroupNotFound') return undefined;
      throw complaintOf(`the resource group ${name}`, error);
    });

  async function list<Item>(what: string, path: string): Promise<Item[]> {
    const found: Item[] = [];
    for (let url: string | undefined = at(path); url !== undefined;) {
      if (!url.startsWith(`${endpoint}/`)) throw new Complaint(`${what}: the next page is at ${new URL(url).host}, where no credentials are sent`);
      const { text } = await send(what, 'GET', url);
      const page = parsed<{ readonly value: readonly Item[]; readonly nextLink?: string | null }>(what, text);
      found.push(...page.value);
      url = page.nextLink ?? undefined;
    }
    return found;
  }

  return {
    group,
    list,
    makeGroup: async (name, location, tags) => void (await sdk(`the resource group ${name}`, client.resourceGroups.createOrUpdate(name, { location, tags: { ...tags } }))),
    removeGroup: async (name) => void (await sdk(`the resource group ${name}`, client.resourceGroups.beginDelete(name))),
    async resources(name) {
      const found: { id: string; type: string }[] = [];
      const read = async (): Promise<void> => {
        for await (const { id = '', type = '' } of client.resources.listByResourceGroup(name)) found.push({ id, type });
      };
      await sdk(`what lies in ${name}`, read());
      return found;
    },
    ask: (what, method, path, body, fine = []) =>
      send(what, method, at(path), { ...(body ? { body: JSON.stringify(body), headers: json } : {}), fine: [404, ...fine] }),
    publisher(host) {
      if (!/^[a-z0-9-]+\.scm\.([a-z0-9-]+\.)?azurewebsites\.net$/.test(host)) throw new Complaint(`the app names ${host} as its publisher, where no credentials are sent`);
      const origin = standIn ?? `https://${host}`;
      return {
        publish: (zip) => send('the package', 'POST', `${origin}/api/publish?RemoteBuild=false&Deployer=anyport`,
          { body: zip, headers: { 'content-type': 'application/zip', 'cache-control': 'no-cache' }, fine: [400, 404, 409] }),
        publication: (id) => send('the package', 'GET', `${origin}/api/deployments/${encodeURIComponent(id)}`, { fine: [404] }),
      };
    },
  };
}

/** Throws a complaint if it is no JSON. */
export function parsed<Shape>(what: string, text: string): Shape {
  try {
    return JSON.parse(text) as Shape;
  } catch {
    throw new Complaint(`${what}: the answer is no JSON: ${line(text)}`);
  }
}

// ---------------------------------------------------------------- patience

/**
 * Asks again whoever says that he is too busy (https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling), fails by his own fault, or does not
 * answer at all.
 */
function patience(say: Reach['say'], sleep: Reach['sleep'], answerSeconds: number): PipelinePolicy {
  return {
    name: 'patience',
    async sendRequest(request, next) {
      const seconds = answerSeconds * (request.body instanceof Uint8Array ? 10 : 1);
      request.timeout = seconds * 1_000;
      const { host } = new URL(request.url);
      for (let tries = 1; ; tries++) {
        const tried = await next(request).catch((error: unknown) => lost(error, host, seconds));
        const reason = 'why' in tried ? tried.why : busy.get(tried.status);
        if (reason === undefined && !('why' in tried)) return tried;
        const wait = 'why' in tried ? undefined : againIn(tried);
        if (wait !== undefined && wait > patienceSecondsMax) throw new Complaint(`${host} ${reason}, and asks to be left alone for ${wait} s; run the command again then`);
        if (tries === triesMax) throw new Complaint(`${host} ${reason}, ${triesMax} times; run the command again later, it goes on where it is`);
        const pause = wait ?? 2 ** (tries - 1);
        say(`  ${host} ${reason}: again in ${pause} s`);
        await sleep(pause);
      }
    },
  };
}

const busy = new Map([[408, 'has waited too long (408)'], [429, 'has too much to do (429)'], [500, 'has failed (500)'], [502, 'is not up (502)'], [503, 'is not up (503)'], [504, 'has not answered in time (504)']]);

/** A failure of the line; every other one, of the credentials say, is thrown on. */
function lost(error: unknown, host: string, seconds: number): { readonly why: string } {
  if (error instanceof Error && error.name === 'AbortError') return { why: `has not answered in ${seconds} s` };
  if (!isRestError(error) || error.statusCode !== undefined || error.code === 'PARSE_ERROR') throw error;
  if (error.code === 'ENOTFOUND') throw new Complaint(`there is no ${host}, or no network`);
  return { why: `has broken off (${error.code ?? error.message})` };
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-retry-after: seconds, or a date. */
function againIn({ headers }: PipelineResponse): number | undefined {
  const said = headers.get('retry-after');
  if (said === undefined || said.trim() === '') return undefined;
  const seconds = Number(said);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const at = Date.parse(said);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1_000));
}

function bearer(credential: TokenCredential, standIn: string): PipelinePolicy {
  return {
    name: bearerTokenAuthenticationPolicyName,
    async sendRequest(request, next) {
      if (new URL(request.url).origin !== standIn) throw new Complaint(`${new URL(request.url).host} is not the stand-in; no credentials are sent there`);
      const token = await credential.getToken(`${cloud}/.default`);
      if (!token) throw new Complaint('there is no token');
      request.headers.set('authorization', `Bearer ${token.token}`);
      return next(request);
    },
  };
}

// ---------------------------------------------------------------- complaints

function codeOf(error: { readonly response?: { readonly bodyAsText?: string | null } }): string {
  return faultIn(error.response?.bodyAsText ?? '').code ?? '';
}

function complaintOf(what: string, error: unknown): Complaint {
  if (error instanceof Complaint) return error;
  if (isRestError(error) && error.statusCode !== undefined) return refusal(what, error.statusCode, error.response?.bodyAsText ?? error.message);
  const said = error instanceof Error ? error : new Error(String(error));
  if (/Authentication|Credential/.test(said.name)) {
    return new Complaint(`nobody is logged in to Azure here: run az login, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (${line(said.message.split('\n')[0] ?? '')})`);
  }
  return new Complaint(`${what}: ${line(said.message)}`);
}

/** What the cloud has refused, with what can be done about it. */
export function refusal(what: string, status: number, text: string): Complaint {
  const fault = faultIn(text);
  const said = told(fault);
  if (status === 401) return new Complaint(`Azure does not take these credentials for ${what} (401 ${said}); log in again, to the tenant that the subscription belongs to`);
  if (status === 403 || /AuthorizationFailed/.test(text)) return new Complaint(`${what}: not allowed (${said}); the role that is missing: ${roleFor(text)}`);
  if (/SubscriptionNotFound|InvalidSubscriptionId/.test(fault.code ?? '')) return new Complaint(`there is no subscription as in AZURE_SUBSCRIPTION_ID, or you cannot see it (${said})`);
  return new Complaint(`${what}: ${status} ${said}`);
}

/** Which of the platform's own roles allows it (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles). */
function roleFor(text: string): string {
  const action = /action '([^']+)'/.exec(text)?.[1] ?? '';
  if (/^Microsoft\.Authorization\//i.test(action)) return 'Role Based Access Control Administrator (or Owner), since the template lets the app use its resources';
  return action === '' ? 'Website Contributor on the app, or Contributor on the resource group' : 'Contributor, on the resource group or, if the group is not there yet, on the subscription';
}

/** https://learn.microsoft.com/rest/api/resources/deployments/validate#errorresponse; publishers speak otherwise. */
export function faultIn(text: string): Fault {
  try {
    const found = JSON.parse(text) as { readonly error?: Fault; readonly Message?: string; readonly ExceptionMessage?: string } | string;
    if (typeof found === 'string') return { message: found };
    return found.error ?? { message: found.ExceptionMessage ?? found.Message ?? text };
  } catch {
    return { message: text };
  }
}

/** The innermost reasons, for the outer ones only say that there is one. */
export function told(fault: Fault): string {
  const reasons = leaves(fault).map(({ code, message }) => [code, message].filter(Boolean).join(': '));
  return line([...new Set(reasons)].join('; ')) || 'no reason given';
}
const leaves = (fault: Fault): Fault[] => (fault.details?.length ? fault.details.flatMap(leaves) : [inside(fault)]);
/** Some faults carry the answer of the resource's own provider as text. */
function inside(fault: Fault): Fault {
  const found = /^\s*\{/.test(fault.message ?? '') ? faultIn(fault.message!) : fault;
  return found === fault || !found.message ? fault : { code: fault.code ?? found.code ?? '', message: found.message };
}

const lengthMax = 600;
export const line = (text: string): string => text.replaceAll(/\s+/g, ' ').trim().slice(0, lengthMax);
