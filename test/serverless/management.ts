import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { evaluate, type Parsed, type Resource } from './arm.ts';

/**
 * A STAND-IN FOR THE MANAGEMENT OF THE CLOUD, on this machine: resource groups, deployments of templates, an app with its publisher, and who one is. It answers what its maker's page says
 * it answers; the page stands beside each answer. What it cannot show is the maker's own service: it is written from those pages, and was never held against it.
 *
 * It works out the template that it is given (test/serverless/arm.ts), so a template whose expressions are wrong is refused here as well. What it was asked is kept in `calls`, to be looked at.
 */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}
/** What goes wrong, instead of the right answer: an answer, a line that breaks while the body comes in, or none at all. */
export type Fault = { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: unknown } | 'breaks off' | 'says nothing';

export interface StandIn {
  readonly url: string;
  /** What whoever asks needs to have in his environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly calls: readonly Call[];
  /** The next `times` requests that fit go wrong. */
  fail(method: string, path: RegExp, fault: Fault, times?: number): void;
  /** The next deployment fails at this type of resource; what does not need it is made all the same. */
  failAt(type: string, code: string, message: string): void;
  /** Somebody else's deployment of that name is under way, for so many looks. */
  beBusy(looks: number): void;
  /** The publisher goes away as soon as it has been seen at work. */
  recycle(): void;
  /** Publications end in this state, instead of 4. */
  endWith(state: number, text: string): void;
  /** The platform finds only these functions in what is published. */
  find(names: readonly string[]): void;
  /** Something that no deployment has made. */
  addForeign(type: string, name: string): void;
  /** A group as somebody has made it by hand. */
  addGroup(): void;
  readonly group: { readonly location: string; readonly tags: Readonly<Record<string, string>> } | undefined;
  /** Ids of all resources, in the order in which they were made. */
  readonly resources: readonly string[];
  /** What was published last, whole. */
  readonly published: Buffer | undefined;
  close(): Promise<void>;
}

export const subscription = '00000000-0000-0000-0000-000000000000';
export const groupName = 'shop';
const token = 'of-the-stand-in';
const groupId = `/subscriptions/${subscription}/resourceGroups/${groupName}`;
interface Deployment {
  readonly properties: { mode: string; template: Parsed; parameters: Record<string, { value: unknown }> };
  state: 'Running' | 'Succeeded' | 'Failed';
  readonly waiting: Resource[];
  readonly operations: object[];
  readonly ids: string[];
  fault?: object;
}

/** `functions` are those that are in the package. */
export async function startStandIn(functions: readonly string[]): Promise<StandIn> {
  const calls: Call[] = [];
  const faults: { method: string; path: RegExp; fault: Fault; times: number }[] = [];
  const resources = new Set<string>();
  let foreign: { id: string; type: string }[] = [];
  let group: { location: string; tags: Record<string, string>; state: string; looks: number } | undefined;
  let deployment: Deployment | undefined;
  let failing: { type: string; code: string; message: string } | undefined;
  let othersLooks = 0;
  let publication: { id: string; status: number; text: string; zip: Buffer; gone: boolean } | undefined;
  let published: Buffer | undefined;
  let end = { state: 4, text: '' };
  let recycles = false;
  let found: readonly string[] = functions;
  let url = '';

  const evaluation = ({ properties }: Deployment) => evaluate(properties.template, Object.fromEntries(Object.entries(properties.parameters).map(([name, { value }]) => [name, value])));
  const idOf = ({ type, name, scope }: Resource): string => {
    const [provider = '', ...kinds] = type.split('/');
    const names = name.split('/');
    return `${groupId}/providers/${scope === undefined ? '' : `${scope}/providers/`}${provider}${kinds.map((kind, nth) => `/${kind}/${names[nth]}`).join('')}`;
  };

  // ------------------------------------------------------------ answers

  type Answer = { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };
  const ok = (body: unknown): Answer => ({ status: 200, body, headers: { 'retry-after': '0' } });
  const refused = (status: number, code: string, message: string): Answer => ({ status, body: { error: { code, message } } });

  /** https://learn.microsoft.com/rest/api/resources/resource-groups/get: 200 with the group; an error `ResourceGroupNotFound` if there is none. */
  function readGroup(): Answer {
    if (group?.state === 'Deleting' && --group.looks < 0) {
      group = undefined;
      deployment = undefined;
      resources.clear();
    }
    if (!group) return refused(404, 'ResourceGroupNotFound', `Resource group '${groupName}' could not be found.`);
    return ok({ id: groupId, name: groupName, type: 'Microsoft.Resources/resourceGroups', location: group.location, tags: group.tags, properties: { provisioningState: group.state } });
  }

  /** https://learn.microsoft.com/rest/api/resources/resource-groups/create-or-update: 201 with the group. */
  function makeGroup(body: Buffer): Answer {
    const { location, tags = {} } = JSON.parse(body.toString()) as { location: string; tags?: Record<string, string> };
    group = { location, tags, state: 'Succeeded', looks: 0 };
    return { ...readGroup(), status: 201 };
  }

  /** https://learn.microsoft.com/rest/api/resources/resource-groups/delete: 202, and where to ask (https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations). */
  function removeGroup(): Answer {
    if (!group) return readGroup();
    Object.assign(group, { state: 'Deleting', looks: 2 });
    return { status: 202, headers: { location: `${url}/subscriptions/${subscription}/operationresults/deletion?api-version=2025-04-01`, 'retry-after': '0' } };
  }

  /** https://learn.microsoft.com/rest/api/resources/resources/list-by-resource-group: the tracked resources, those of the top, in pages. */
  function listResources(): Answer {
    const own = [...resources].filter((id) => /providers\/[^/]+\/[^/]+\/[^/]+$/.test(id)).map((id) => ({ id, type: id.split('/providers/')[1]!.split('/').slice(0, 2).join('/') }));
    return ok({ value: [...own, ...foreign] });
  }

  /** Everything in the template is worked out, as it would be. */
  function wrongIn(next: Deployment): string | undefined {
    try {
      const { of } = evaluation(next);
      for (const each of next.properties.template.resources) of(each);
      for (const { value } of Object.values(next.properties.template.outputs)) of(value);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
  const deploymentIn = (body: Buffer): Deployment => ({ ...(JSON.parse(body.toString()) as Pick<Deployment, 'properties'>), state: 'Running', waiting: [], operations: [], ids: [] });

  /** https://learn.microsoft.com/rest/api/resources/deployments/validate: 200, or 400 with the error `InvalidTemplate`. */
  function validate(body: Buffer): Answer {
    const next = deploymentIn(body);
    const wrong = wrongIn(next);
    return wrong === undefined ? ok({ properties: { provisioningState: 'Succeeded' } }) : refused(400, 'InvalidTemplate', `Deployment template validation failed: '${wrong}'.`);
  }

  /**
   * https://learn.microsoft.com/rest/api/resources/deployments/create-or-update: 201 with the state `Accepted`; 409 while one of that name is under way
   * (https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors, DeploymentActive).
   */
  function deploy(body: Buffer): Answer {
    if (!group) return readGroup();
    if (othersLooks > 0 || deployment?.state === 'Running') {
      return refused(409, 'DeploymentActive', `Unable to edit or replace deployment 'anyport': previous deployment from '11/20/2026 8:00:00 AM' is still active.`);
    }
    deployment = deploymentIn(body);
    const { of } = evaluation(deployment);
    for (const each of deployment.properties.template.resources) deployment.waiting.push(of(each) as Resource);
    return { status: 201, body: { id: `${groupId}/providers/Microsoft.Resources/deployments/anyport`, name: 'anyport', properties: { provisioningState: 'Accepted' } } };
  }

  /** https://learn.microsoft.com/rest/api/resources/deployments/get: each look finds a third more of it made. */
  function readDeployment(): Answer {
    if (othersLooks > 0) {
      othersLooks--;
      return ok({ name: 'anyport', properties: { provisioningState: othersLooks > 0 ? 'Running' : 'Succeeded' } });
    }
    if (!deployment) return refused(404, 'DeploymentNotFound', `Deployment 'anyport' could not be found.`);
    if (deployment.state === 'Running') work(deployment);
    const { state, ids, properties, fault } = deployment;
    const { of } = evaluation(deployment);
    const outputs = Object.fromEntries(Object.entries(properties.template.outputs).map(([name, { type, value }]) => [name, { type, value: of(value) }]));
    const outcome = state === 'Succeeded' ? { outputs, outputResources: ids.map((id) => ({ id })) } : state === 'Failed' ? { error: fault } : {};
    return ok({ name: 'anyport', properties: { provisioningState: state, timestamp: '2026-11-20T08:00:00Z', mode: properties.mode, ...outcome } });
  }

  function work(current: Deployment): void {
    const { waiting, operations, ids } = current;
    for (const resource of waiting.splice(0, 15)) {
      const id = idOf(resource);
      const target = { targetResource: { id, resourceType: resource.type, resourceName: resource.name } };
      if (failing?.type === resource.type) {
        const { code, message } = failing;
        // https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors: DeploymentFailed outside, the reason inside.
        current.fault = { code: 'DeploymentFailed', message: 'At least one resource deployment operation failed. Please list deployment operations for details.', details: [{ code: 'Conflict', message: JSON.stringify({ error: { code, message } }) }] };
        operations.push({ operationId: randomUUID(), properties: { provisioningState: 'Failed', ...target, statusMessage: { status: 'Failed', error: { code, message } } } });
      } else if (!resource.dependsOn?.some((needed) => !ids.includes(needed))) {
        resources.add(id);
        ids.push(id);
        operations.push({ operationId: randomUUID(), properties: { provisioningState: 'Succeeded', ...target } });
      }
    }
    if (waiting.length > 0) return;
    current.state = current.fault ? 'Failed' : 'Succeeded';
    failing = undefined;
  }

  /** https://learn.microsoft.com/rest/api/resources/deployment-operations/list: in pages, each with the address of the next. */
  function listOperations(query: URLSearchParams): Answer {
    const from = Number(query.get('$skiptoken') ?? 0);
    const value = deployment?.operations.slice(from, from + 20) ?? [];
    const more = (deployment?.operations.length ?? 0) > from + 20;
    return ok({ value, ...(more ? { nextLink: `${url}${deploymentPath}/operations?api-version=2025-04-01&$skiptoken=${from + 20}` } : {}) });
  }

  /** https://learn.microsoft.com/rest/api/appservice/web-apps/get: the app, with the names of its hosts; the one of the type Repository is its publisher's. */
  function readSite(name: string): Answer {
    if (!resources.has(`${groupId}/providers/Microsoft.Web/sites/${name}`)) return refused(404, 'ResourceNotFound', `The Resource 'Microsoft.Web/sites/${name}' under resource group '${groupName}' was not found.`);
    const hostNameSslStates = [{ name: `${name}.azurewebsites.net`, hostType: 'Standard' }, { name: `${name}.scm.azurewebsites.net`, hostType: 'Repository' }];
    return ok({ name, properties: { state: 'Running', hostNameSslStates } });
  }

  /** https://learn.microsoft.com/rest/api/appservice/web-apps/list-functions: each under the name of its app, in pages. */
  function listFunctions(name: string, query: URLSearchParams): Answer {
    const from = Number(query.get('$skiptoken') ?? 0);
    const all = published ? found : [];
    const more = all.length > from + 40;
    return ok({ value: all.slice(from, from + 40).map((each) => ({ name: `${name}/${each}` })), nextLink: more ? `${url}${sitePath(name)}/functions?api-version=2024-04-01&$skiptoken=${from + 40}` : null });
  }

  /** https://learn.microsoft.com/azure/azure-functions/functions-deployment-technologies#one-deploy; 202 and the id, as its maker says in https://github.com/Azure/azure-dev/issues/3658. */
  function publish(type: string | undefined, body: Buffer): Answer {
    // What is no zip by its type is not taken: https://github.com/Azure/azure-dev/blob/main/cli/azd/pkg/azsdk/funcapp_host_client.go sends this one.
    if (type !== 'application/zip') return { status: 415, body: 'Unsupported Media Type' };
    publication = { id: randomUUID(), status: 0, text: '', zip: body, gone: false };
    return { status: 202, body: publication.id };
  }

  /** https://github.com/Azure/azure-dev/issues/3658: always 200, the state is in the body, from -1 to 6; unknown once the one who published it is gone. */
  function readPublication(id: string): Answer {
    if (!publication || publication.gone || (id !== 'latest' && id !== publication.id)) return { status: 404, body: `Deployment ${id} not found.` };
    if (publication.status < 2) publication.status++;
    else if (publication.status === 2) Object.assign(publication, { status: end.state, text: end.text });
    if (publication.status === 4) published = publication.zip;
    if (recycles && publication.status === 2) {
      publication.gone = true;
      published = publication.zip;
    }
    return ok({ id: publication.id, status: publication.status, status_text: publication.text, deployer: 'anyport', end_time: publication.status > 2 ? '2026-11-20T08:05:00Z' : null });
  }

  /** https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference */
  function giveToken(headers: IncomingMessage['headers'], query: URLSearchParams): Answer {
    if (headers['x-identity-header'] !== token) return { status: 400, body: { statusCode: 400, message: 'no such identity' } };
    return { status: 200, body: { access_token: token, expires_on: '1999999999', resource: query.get('resource'), token_type: 'Bearer' } };
  }

  // ------------------------------------------------------------ the server

  const deploymentPath = `/subscriptions/${subscription}/resourcegroups/${groupName}/providers/Microsoft.Resources/deployments/anyport`;
  const sitePath = (name: string): string => `${groupId}/providers/Microsoft.Web/sites/${name}`;

  function answerTo({ method, path, headers, body }: Call): Answer {
    const { pathname, searchParams: query } = new URL(path, url);
    if (pathname === '/msi/token') return giveToken(headers, query);
    // https://learn.microsoft.com/rest/api/azure/#create-the-request: without a token nothing is answered.
    if (headers.authorization !== `Bearer ${token}`) return refused(401, 'AuthenticationFailed', "Authentication failed. The 'Authorization' header is missing.");
    const at = `${method} ${pathname.toLowerCase()}`;
    const group = `/subscriptions/${subscription}/resourcegroups/${groupName}`;
    const site = new RegExp(`^GET ${group}/providers/microsoft\\.web/sites/([^/]+)(/functions)?$`).exec(at);
    if (site) return site[2] ? listFunctions(site[1]!, query) : readSite(site[1]!);
    const routes: Readonly<Record<string, () => Answer>> = {
      [`GET ${group}`]: readGroup,
      [`PUT ${group}`]: () => makeGroup(body),
      [`DELETE ${group}`]: removeGroup,
      [`GET ${group}/resources`]: listResources,
      [`POST ${deploymentPath.toLowerCase()}/validate`]: () => validate(body),
      [`PUT ${deploymentPath.toLowerCase()}`]: () => deploy(body),
      [`GET ${deploymentPath.toLowerCase()}`]: readDeployment,
      [`GET ${deploymentPath.toLowerCase()}/operations`]: () => listOperations(query),
      // https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations: 202 while it goes on.
      [`GET /subscriptions/${subscription}/operationresults/deletion`]: () => ({ status: 202, headers: { 'retry-after': '0' } }),
      'POST /api/publish': () => publish(headers['content-type'], body),
    };
    const publicationId = /^GET \/api\/deployments\/([\w-]+)$/.exec(at)?.[1];
    if (publicationId) return readPublication(publicationId);
    return routes[at]?.() ?? refused(404, 'NotFound', `there is no ${at} in the stand-in`);
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = request;
    const fault = faults.find((each) => each.times > 0 && each.method === method && each.path.test(path));
    if (fault) fault.times--;
    if (fault?.fault === 'breaks off') {
      calls.push({ method, path, headers, body: Buffer.alloc(0) });
      return void request.once('data', () => request.socket.destroy());
    }
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const call = { method, path, headers, body: Buffer.concat(pieces) };
    calls.push(call);
    if (fault?.fault === 'says nothing') return;
    const { status, body, headers: more = {} } = fault ? fault.fault as Exclude<Fault, string> : answerTo(call);
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...more });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => request.socket.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    env: {
      AZURE_MANAGEMENT: url, AZURE_SUBSCRIPTION_ID: subscription, ADMIN_TOKEN: 'a-token-of-the-test',
      IDENTITY_ENDPOINT: `${url}/msi/token`, IDENTITY_HEADER: token, AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
    },
    calls,
    fail: (method, path, fault, times = 1) => void faults.push({ method, path, fault, times }),
    failAt: (type, code, message) => void (failing = { type, code, message }),
    beBusy: (looks) => void (othersLooks = looks),
    recycle: () => void (recycles = true),
    endWith: (state, text) => void (end = { state, text }),
    find: (names) => void (found = names),
    addForeign: (type, name) => void (foreign = [...foreign, { id: `${groupId}/providers/${type}/${name}`, type }]),
    addGroup: () => void (group = { location: 'northeurope', tags: {}, state: 'Succeeded', looks: 0 }),
    get group() {
      return group;
    },
    get resources() {
      return [...resources];
    },
    get published() {
      return published;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// ---------------------------------------------------------------- what goes wrong

/** https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling: 429, and in how many seconds to ask again. */
export const throttled = (seconds: number): Fault => ({
  status: 429, headers: { 'retry-after': String(seconds) }, body: { error: { code: 'SubscriptionRequestsThrottled', message: 'Number of requests for subscription and operation GET exceeded the backend storage limit.' } },
});

/** https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors and https://learn.microsoft.com/entra/identity-platform/access-tokens: a token of another tenant, or one that has run out. */
export const unauthenticated: Fault = { status: 401, body: { error: { code: 'ExpiredAuthenticationToken', message: 'The access token expiry UTC time is earlier than current UTC time.' } } };

/** https://learn.microsoft.com/azure/role-based-access-control/troubleshooting: who may not do what, and where. */
export const forbidden = (action: string): Fault => ({
  status: 403,
  body: { error: { code: 'AuthorizationFailed', message: `The client 'deployer' with object id '1' does not have authorization to perform action '${action}' over scope '${groupId}' or the scope is invalid.` } },
});

/** Of the publisher, which has written nothing: the app's identity may not yet write to its storage. https://learn.microsoft.com/azure/role-based-access-control/troubleshooting says it takes up to ten minutes. */
export const storageForbidden: Fault = { status: 400, body: { Message: 'BlobUploadFailedException: Failed to upload because Azure Storage responded with Forbidden: 403 (This request is not authorized to perform this operation.)' } };

/** Of the publisher, https://github.com/Azure/azure-cli/blob/dev/src/azure-cli/azure/cli/command_modules/appservice/custom.py: there may be an ongoing deployment. */
export const publishing: Fault = { status: 409, headers: { 'retry-after': '3' }, body: 'There is a deployment currently in progress.' };
