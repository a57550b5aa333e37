import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { folderOf, packageName, templateName, type Options, type Serverless } from './commands.ts';
import { Complaint } from './complaint.ts';
import { connect, faultIn, parsed, refusal, told, type Answer, type Deployment, type Management, type Operation, type Publication, type Publisher } from './management.ts';
import { planOf } from './plan.ts';
import type { Template } from './template.ts';

/**
 * `sls deploy`, `sls remove`, `sls info`.
 *
 * - `deploy`: the resource group, if there is none; the template that was packaged, validated and then deployed; the package, published; and it ends when the platform has found
 *   every function that is in it. Each step is the same however often it is done, so a deploy that broke off anywhere is completed by running it again.
 * - `remove` deletes the resource group if `deploy` has made it (a tag says so), nothing else lies in it, and a person has said its name. All orders go with it.
 * - `--dry-run` prints what would be done, and asks nobody: it needs neither credentials nor a network.
 *
 * It has been tried against a stand-in alone (test/serverless/management.ts): nothing here could log in to a cloud.
 */
export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly say: (line: string) => void;
  readonly sleep: (seconds: number) => Promise<void>;
  readonly answerSeconds: number;
}
const here: World = { env: process.env, say: (line) => console.log(line), sleep: (seconds) => after(seconds * 1_000), answerSeconds: 60 };

interface Settings {
  readonly subscription: string;
  readonly group: string;
  readonly region: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly adminToken: string;
  readonly standIn: string | undefined;
  readonly functions: readonly string[];
}

/** Of the deployment; the same each time, so that the latest takes the place of the one before. */
const deploymentName = 'anyport';
/** On the resource group. Its value is the deployment's name. */
const madeTag = 'made-by-sls-deploy';
const siteVersion = '2024-04-01';
/** Of groups and of deployments. */
const deploymentVersion = '2025-04-01';
const provisionMinutesMax = 60;
const publishMinutesMax = 15;
const removeMinutesMax = 60;

// ---------------------------------------------------------------- settings

/** All of what is missing or wrong, before anything is done. */
export function settingsOf({ service }: Serverless, options: Options, env: World['env'], needed: readonly ('subscription' | 'region' | 'adminToken')[]): Settings {
  const { region = '', resourceGroup = '', parameters = {} } = service.provider ?? {};
  const found = {
    subscription: options['subscription'] ?? env['AZURE_SUBSCRIPTION_ID'] ?? '',
    group: options['resource-group'] ?? resourceGroup,
    region: options['region'] ?? region,
    adminToken: env['ADMIN_TOKEN'] ?? '',
    parameters, standIn: standInOf(env['AZURE_MANAGEMENT']), functions: Object.keys(service.functions),
  };
  const missing = [
    ...(needed.includes('subscription') && !found.subscription ? ['AZURE_SUBSCRIPTION_ID (or --subscription): the id that az account show prints'] : []),
    ...(found.group ? [] : ['provider.resourceGroup in serverless.yml (or --resource-group)']),
    ...(needed.includes('region') && !found.region ? ['provider.region in serverless.yml (or --region)'] : []),
    ...(needed.includes('adminToken') && found.adminToken.length < 16 ? ['ADMIN_TOKEN, 16 characters or more: it opens the admin API of the shop'] : []),
  ];
  if (missing.length > 0) throw new Complaint(`missing: ${missing.join('; ')}`);
  if (found.subscription && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(found.subscription)) throw new Complaint(`${found.subscription} is no id of a subscription`);
  // https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftresources
  if (!/^[\w.()-]{0,89}[\w()-]$/.test(found.group)) throw new Complaint(`${found.group} is no name of a resource group`);
  if (found.region && !/^[a-z0-9]{2,40}$/.test(found.region)) throw new Complaint(`${found.region} is no region; they are written as in westeurope`);
  return found;
}

/** Another address than the cloud's is for tests on this machine. Anything else is refused: credentials would be sent there. */
function standInOf(address: string | undefined): string | undefined {
  if (address === undefined || address === '') return undefined;
  if (!/^http:\/\/127\.0\.0\.1:\d{1,5}$/.test(address)) throw new Complaint('AZURE_MANAGEMENT is for a stand-in on this machine, as http://127.0.0.1:PORT; no credentials are sent anywhere else');
  return address;
}

interface Package {
  readonly zip: Uint8Array;
  readonly template: Template;
}

async function packageIn(folder: string): Promise<Package> {
  const read = (name: string): Promise<Uint8Array> => readFile(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
    throw new Complaint(`${join(folder, name)} cannot be read (${error.code ?? error.message}); sls package writes it`);
  });
  const [zip, template] = [await read(packageName), await read(templateName)];
  return { zip, template: parsed<Template>(templateName, Buffer.from(template).toString()) };
}

async function managementOf({ subscription, standIn }: Settings, { say, sleep, answerSeconds }: World): Promise<Management> {
  const { DefaultAzureCredential } = await import('@azure/identity');
  if (standIn !== undefined) say(`a stand-in at ${standIn}, no cloud`);
  return connect({ subscription, credential: new DefaultAzureCredential(), say, sleep, answerSeconds, ...(standIn === undefined ? {} : { standIn }) });
}

// ---------------------------------------------------------------- deploy

/** Before the package is made: nobody waits for one that cannot be deployed. */
export function checkDeploy(serverless: Serverless, options: Options, world: World = here): void {
  settingsOf(serverless, options, world.env, options['dry-run'] ? ['region'] : ['subscription', 'region', 'adminToken']);
}

export async function deploy(serverless: Serverless, options: Options, world: World = here): Promise<void> {
  checkDeploy(serverless, options, world);
  const settings = settingsOf(serverless, options, world.env, []);
  const pack = await packageIn(folderOf(serverless, options));
  if (options['dry-run']) return tellPlan(settings, pack, world.say);
  const management = await managementOf(settings, world);
  await ensureGroup(management, settings, world.say);
  const outputs = await provision(management, settings, pack.template, world);
  const app = String(outputs['app'] ?? '');
  await publish(await publisherOf(management, settings, app), pack.zip, world);
  const count = await awaitFunctions(management, settings, app, world);
  world.say(`${String(outputs['url'])}: ${count} functions`);
  for (const [name, value] of Object.entries(outputs)) world.say(`  ${name}: ${String(value)}`);
}

function tellPlan({ subscription, group, region, functions, parameters }: Settings, { zip, template }: Package, say: World['say']): void {
  const { resources, roles } = planOf(template, parameters);
  say(`Nothing is done. In the subscription ${subscription || '(AZURE_SUBSCRIPTION_ID is not set)'}, sls deploy would`);
  say(`1. make the resource group ${group} in ${region}, unless it is there`);
  say(`2. validate and deploy the template in it, as the deployment ${deploymentName}: ${resources.length} resources`);
  for (const { type, name } of resources) say(`     ${type}  ${name}`);
  say(`   and ${roles.length} role assignments to the app's identity`);
  for (const { role, on } of roles) say(`     ${role}  on ${on}`);
  say(`3. publish the package, ${zip.byteLength} bytes, and wait for its ${functions.length} functions`);
  for (const name of functions) say(`     ${name}`);
}

async function ensureGroup(management: Management, { group, region }: Settings, say: World['say']): Promise<void> {
  const found = await management.group(group);
  if (found?.properties?.provisioningState === 'Deleting') throw new Complaint(`the resource group ${group} is being deleted; run sls deploy again when it is gone`);
  if (found) return say(`the resource group ${group} is there, in ${found.location}`);
  await management.makeGroup(group, region, { [madeTag]: deploymentName });
  say(`the resource group ${group} is made, in ${region}`);
}

const deploymentPath = (group: string, rest = ''): string => `/resourcegroups/${encodeURIComponent(group)}/providers/Microsoft.Resources/deployments/${deploymentName}${rest}?api-version=${deploymentVersion}`;
type Outputs = Readonly<Record<string, unknown>>;

async function provision(management: Management, settings: Settings, template: Template, world: World): Promise<Outputs> {
  const given = { ...settings.parameters, location: settings.region, adminToken: settings.adminToken };
  const parameters = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, { value }]));
  const body = { properties: { mode: 'Incremental', template, parameters } };
  await validate(management, settings.group, body);
  world.say('the template is valid');
  for (let tries = 1; ; tries++) {
    const { status, text } = await management.ask('the deployment', 'PUT', deploymentPath(settings.group), body, [409]);
    if (status < 300) break;
    // https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors: DeploymentActive, and its sister that cannot even be edited
    const { code = '' } = faultIn(text);
    if (status !== 409 || !code.startsWith('DeploymentActive')) throw refusal('the deployment', status, text);
    if (tries === 3) throw new Complaint('other deployments keep coming in between; run sls deploy again when there is none');
    world.say('another deployment is under way; it is waited for');
    await finished(management, settings.group, world);
  }
  const { properties } = await finished(management, settings.group, world, 'told');
  if (properties.provisioningState !== 'Succeeded') throw new Complaint(await failureOf(management, settings.group, properties));
  return Object.fromEntries(Object.entries(properties.outputs ?? {}).map(([name, { value }]) => [name, value]));
}

/** https://learn.microsoft.com/rest/api/resources/deployments/validate: 200, with an error in it if there is one, or 400. */
async function validate(management: Management, group: string, body: object): Promise<void> {
  const { status, text } = await management.ask('the template', 'POST', deploymentPath(group, '/validate'), body, [400]);
  const { error } = status < 300 && text !== '' ? parsed<{ readonly error?: object }>('the validation', text) : {};
  if (status >= 400 || error) throw refusal('the template', status, text);
}

const ended = new Set(['Succeeded', 'Failed', 'Canceled']);

/** Waits for the deployment's end, telling what has come about meanwhile. */
async function finished(management: Management, group: string, world: World, progress?: 'told'): Promise<Deployment> {
  const seen = new Set<string>();
  return until<Deployment>(world, { seconds: 10, minutes: provisionMinutesMax, what: 'the deployment' }, async () => {
    const { status, text, again } = await management.ask('the deployment', 'GET', deploymentPath(group));
    if (status === 404) throw new Complaint(`the deployment ${deploymentName} is gone; somebody has deleted it`);
    const deployment = parsed<Deployment>('the deployment', text);
    if (progress) tellProgress(await operationsOf(management, group), seen, world.say);
    return ended.has(deployment.properties.provisioningState) ? { done: deployment } : { again };
  });
}

const operationsOf = (management: Management, group: string): Promise<Operation[]> => management.list<Operation>('the operations of the deployment', deploymentPath(group, '/operations'));
const resourceOf = ({ properties }: Operation): string => (properties.targetResource ? `${properties.targetResource.resourceType} ${properties.targetResource.resourceName}` : '');

function tellProgress(operations: readonly Operation[], seen: Set<string>, say: World['say']): void {
  for (const each of operations) {
    if (seen.has(each.operationId) || !ended.has(each.properties.provisioningState) || resourceOf(each) === '') continue;
    seen.add(each.operationId);
    say(`  ${each.properties.provisioningState === 'Succeeded' ? 'made' : 'FAILED'}: ${resourceOf(each)}`);
  }
}

async function failureOf(management: Management, group: string, { provisioningState, error }: Deployment['properties']): Promise<string> {
  const failed = (await operationsOf(management, group)).filter(({ properties }) => properties.provisioningState === 'Failed' && properties.targetResource);
  const reasons = failed.map((each) => {
    const fault = each.properties.statusMessage?.error ?? {};
    return `${resourceOf(each)}: ${fault.code === undefined ? '' : `${fault.code}: `}${told({ ...fault, code: '' })}`;
  });
  const said = reasons.length > 0 ? reasons.join('; ') : told(error ?? {});
  return `the deployment has ${provisioningState === 'Canceled' ? 'been cancelled' : 'failed'}: ${said}. What was made stays; run sls deploy again, it goes on from there`;
}

// ---------------------------------------------------------------- the package

const appPath = (group: string, app: string, rest = ''): string => `/resourceGroups/${encodeURIComponent(group)}/providers/Microsoft.Web/sites/${encodeURIComponent(app)}${rest}?api-version=${siteVersion}`;

/** The app itself says where it is published (https://learn.microsoft.com/rest/api/appservice/web-apps/get#hostnamesslstate). */
async function publisherOf(management: Management, { group }: Settings, app: string): Promise<Publisher> {
  const { status, text } = await management.ask(`the app ${app}`, 'GET', appPath(group, app));
  if (app === '' || status === 404) throw new Complaint(`the deployment has not made an app${app && ` ${app}`}`);
  const { properties } = parsed<{ readonly properties: { readonly hostNameSslStates?: readonly { readonly name: string; readonly hostType: string }[] } }>(`the app ${app}`, text);
  const host = properties.hostNameSslStates?.find(({ hostType }) => hostType === 'Repository')?.name;
  if (host === undefined) throw new Complaint(`the app ${app} does not say where it is published`);
  return management.publisher(host);
}

/**
 * One Deploy (https://learn.microsoft.com/azure/azure-functions/functions-deployment-technologies#one-deploy). A new app's publisher is not up at once, and what its identity may do
 * takes up to ten minutes to get about (https://learn.microsoft.com/azure/role-based-access-control/troubleshooting); so both are waited for.
 */
async function publish(publisher: Publisher, zip: Uint8Array, world: World): Promise<void> {
  const answer = await until<Answer>(world, { seconds: 15, minutes: publishMinutesMax, what: 'the publisher of the app' }, async () => {
    const given = await publisher.publish(zip);
    if (given.status < 300) return { done: given };
    const why = given.status === 404 ? 'the publisher is not up yet' : given.status === 409 ? 'another package is being published' : notAllowedYet(given.text);
    if (why === undefined) throw refusal('the package', given.status, given.text);
    world.say(`  ${why}; it is waited for`);
    return { again: given.again };
  });
  // The answer is the id of the publication, in quotes.
  const id = /^"?([\w-]{1,100})"?$/.exec(answer.text.trim())?.[1] ?? 'latest';
  world.say(`the package is handed over, ${zip.byteLength} bytes`);
  const { status, status_text: said } = await published(publisher, id, world);
  if (status !== done) throw new Complaint(`the package was not published: ${states.get(status) ?? status}${said ? `: ${told({ message: said })}` : ''}; run sls deploy again`);
  world.say('the package is published');
}

/** The app may not write its package yet. */
const notAllowedYet = (text: string): string | undefined => (/BlobUploadFailed/i.test(text) && /403|Authorization/i.test(text) ? 'the app may not write to its storage yet' : undefined);

/** As the vendor's own clients know them (https://github.com/Azure/azure-dev/blob/main/cli/azd/pkg/azsdk/funcapp_host_client.go). */
const states = new Map([[-1, 'cancelled'], [0, 'waiting'], [1, 'being built'], [2, 'being put in place'], [3, 'failed'], [4, 'published'], [5, 'cancelled, since another one is being published'], [6, 'published in part']]);
const done = 4;
const underWay = new Set([0, 1, 2]);
const strangerLooksMax = 30;

/**
 * Every second, as those clients do on the advice of the service's makers: the one who publishes goes away soon after it is done, and what it has published is unknown from then on. So
 * an unknown one is not there yet before it has been seen, and done afterwards; whether its functions are there is looked at in any case.
 */
async function published(publisher: Publisher, id: string, world: World): Promise<Publication> {
  let seen: Publication | undefined;
  let strange = 0;
  return until<Publication>(world, { seconds: 1, minutes: publishMinutesMax, what: 'the publication of the package' }, async () => {
    const { status, text, again } = await publisher.publication(id);
    if (status === 404) {
      if (seen) return { done: { ...seen, status: done } };
      if (++strange > strangerLooksMax) throw new Complaint(`the publisher of the app does not know the package that it has taken (${id}); run sls deploy again`);
      return { again };
    }
    seen = parsed<Publication>('the publication', text);
    return underWay.has(seen.status) ? { again } : { done: seen };
  });
}

/** A package that breaks while it is loaded is a success to the platform, with no functions; so it has to name them all (https://learn.microsoft.com/rest/api/appservice/web-apps/list-functions). */
async function awaitFunctions(management: Management, settings: Settings, app: string, world: World): Promise<number> {
  let missing = settings.functions;
  const { functions } = settings;
  return until<number>(world, { seconds: 10, minutes: 5, what: () => `the platform has not found ${missing.length} of ${functions.length} functions (${missing.slice(0, 3).join(', ')}): the search for them` }, async () => {
    const found = await functionsOf(management, settings, app);
    missing = functions.filter((name) => !found.includes(name));
    return missing.length === 0 ? { done: found.length } : { again: undefined };
  });
}

async function functionsOf(management: Management, { group }: Settings, app: string): Promise<readonly string[]> {
  const found = await management.list<{ readonly name: string }>(`the functions of ${app}`, appPath(group, app, '/functions'));
  return found.map(({ name }) => name.split('/').at(-1)!);
}

// ---------------------------------------------------------------- remove

export async function remove(serverless: Serverless, options: Options, world: World = here): Promise<void> {
  const settings = settingsOf(serverless, options, world.env, options['dry-run'] ? [] : ['subscription']);
  const { group } = settings;
  if (options['dry-run']) return tellRemoval(settings, world.say);
  const management = await managementOf(settings, world);
  const found = await management.group(group);
  if (!found) return world.say(`there is no resource group ${group}; nothing is left to remove`);
  if (found.properties?.provisioningState !== 'Deleting') {
    if (found.tags?.[madeTag] !== deploymentName) throw new Complaint(`the resource group ${group} was there before sls deploy, so it is not deleted; what the deployment has made in it is listed by sls info`);
    const all = await management.resources(group);
    const others = await othersIn(management, group, all);
    if (others.length > 0) throw new Complaint(`in the resource group ${group} lies what sls deploy has not made (${others.slice(0, 3).join(', ')}), so it is not deleted; move that away, or delete the group by hand`);
    if (!options['force'] && options['confirm'] !== group) throw new Complaint(`this deletes the resource group ${group}, ${all.length} resources and all orders in them; run it again with --confirm ${group}, or with --force`);
    await management.removeGroup(group);
  }
  world.say(`the resource group ${group} is being deleted`);
  await until<boolean>(world, { seconds: 10, minutes: removeMinutesMax, what: 'the deletion' }, async () => {
    const { status, again } = await management.ask(`the resource group ${group}`, 'GET', `/resourcegroups/${encodeURIComponent(group)}?api-version=${deploymentVersion}`);
    return status === 404 ? { done: true } : { again };
  });
  world.say(`the resource group ${group} is gone`);
}

function tellRemoval({ subscription, group }: Settings, say: World['say']): void {
  say(`Nothing is done. In the subscription ${subscription || '(AZURE_SUBSCRIPTION_ID is not set)'}, sls remove would`);
  say(`1. look whether the resource group ${group} was made by sls deploy (its tag ${madeTag}), and whether nothing else lies in it; otherwise it would refuse`);
  say(`2. want --confirm ${group}, or --force`);
  say(`3. delete the resource group ${group}, with all resources and all orders in it, and wait until it is gone`);
}

/** What the platform itself puts beside a component that watches is the deployment's own (https://learn.microsoft.com/azure/azure-monitor/alerts/proactive-failure-diagnostics). */
const beside = /^microsoft\.(insights\/actiongroups|alertsmanagement\/smartdetectoralertrules)$/i;

async function othersIn(management: Management, group: string, all: readonly { readonly id: string; readonly type: string }[]): Promise<string[]> {
  const { status, text } = await management.ask('the deployment', 'GET', deploymentPath(group));
  const { properties } = status === 404 ? { properties: {} as Partial<Deployment['properties']> } : parsed<Deployment>('the deployment', text);
  const own = new Set([
    ...(properties.outputResources ?? []).map(({ id }) => id.toLowerCase()),
    ...(status === 404 ? [] : await operationsOf(management, group)).map(({ properties: { targetResource } }) => targetResource?.id?.toLowerCase() ?? ''),
  ]);
  return all.filter(({ id, type }) => !own.has(id.toLowerCase()) && !beside.test(type)).map(({ id, type }) => `${type} ${id.split('/').at(-1)}`);
}

// ---------------------------------------------------------------- info

export async function info(serverless: Serverless, options: Options, world: World = here): Promise<void> {
  const settings = settingsOf(serverless, options, world.env, options['dry-run'] ? [] : ['subscription']);
  const { group, functions } = settings;
  const { say } = world;
  if (options['dry-run']) return say(`Nothing is done. sls info would read the resource group ${group}, the deployment ${deploymentName} in it, its app, the app's functions and what was published last`);
  const management = await managementOf(settings, world);
  const found = await management.group(group);
  if (!found) return say(`there is no resource group ${group}: nothing is deployed`);
  say(`resource group: ${group}, in ${found.location}, ${found.tags?.[madeTag] === deploymentName ? 'made by sls deploy' : 'not made by sls deploy'}`);
  const { status, text } = await management.ask('the deployment', 'GET', deploymentPath(group));
  if (status === 404) return say(`deployment: there is no ${deploymentName}`);
  const { properties } = parsed<Deployment>('the deployment', text);
  say(`deployment: ${properties.provisioningState}${properties.timestamp ? `, ${properties.timestamp}` : ''}`);
  if (properties.error) say(`  ${told(properties.error)}`);
  for (const [name, { value }] of Object.entries(properties.outputs ?? {})) say(`  ${name}: ${String(value)}`);
  const app = String(properties.outputs?.['app']?.value ?? '');
  if (app === '') return;
  const names = await functionsOf(management, settings, app);
  say(`functions: ${functions.filter((name) => names.includes(name)).length} of ${functions.length}`);
  const latest = await (await publisherOf(management, settings, app)).publication('latest');
  if (latest.status === 404) return say('package: none was published');
  const { status: state, end_time: at } = parsed<Publication>('the publication', latest.text);
  say(`package: ${states.get(state) ?? state}${at ? `, ${at}` : ''}`);
}

// ---------------------------------------------------------------- waiting

interface Limits {
  /** Between two looks, unless the answer says otherwise. */
  readonly seconds: number;
  readonly minutes: number;
  readonly what: string | (() => string);
}
type Look<Result> = { readonly done: Result } | { readonly again: number | undefined };

async function until<Result>({ sleep }: World, { seconds, minutes, what }: Limits, look: () => Promise<Look<Result>>): Promise<Result> {
  // Counted by waits, a second at least: one who always says «at once» comes to an end, too.
  let left = minutes * 60;
  for (;;) {
    const found = await look();
    if ('done' in found) return found.done;
    if (left <= 0) throw new Complaint(`${typeof what === 'function' ? what() : what} has taken more than ${minutes} minutes; it may still go on. sls info tells, and sls deploy can be run again`);
    const pause = Math.min(found.again ?? seconds, 60);
    left -= Math.max(pause, 1);
    await sleep(pause);
  }
}
