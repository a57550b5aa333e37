import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { doors, type Door } from '../../core/flow.ts';
import { functions } from '../../handlers/functions.ts';
import { bundle, zipped } from '../../serverless/bundle.ts';
import { Complaint, pack, type Options, type ProviderConfig, type Serverless } from '../../serverless/commands.ts';
import { deploy, info, remove, type World } from '../../serverless/deploy.ts';
import { eventOf, handlerOf } from '../../serverless/generate.ts';
import { template } from '../../serverless/template.ts';
import { forbidden, groupName, publishing, startStandIn, storageForbidden, subscription, throttled, unauthenticated, type Call, type StandIn } from './management.ts';

/**
 * `sls deploy`, `sls remove` and `sls info`, as they are typed, against a stand-in for the management of the cloud (test/serverless/management.ts); and in this process, on waits that
 * take no time, for all that can go wrong on the way. What no test here can show is the cloud itself.
 */
const root = fileURLToPath(new URL('../..', import.meta.url));
const names = functions.map(({ name }) => name);
const folder = mkdtempSync(join(tmpdir(), 'anyport-deploy-'));
const packed = join(folder, 'package');
const adminToken = 'a-token-of-the-test';

type Config = Serverless['service']['functions'];
const rows = Object.fromEntries(functions.map((row) => [row.name, { handler: handlerOf(row.name), events: [eventOf(row)] }])) as Config;
const serverless = (provider: ProviderConfig = { region: 'westeurope', resourceGroup: groupName }): Serverless => ({ serviceDir: root, service: { functions: rows, package: { path: packed }, provider } });

let packing: Promise<void> | undefined;
const once = (): Promise<void> => (packing ??= pack(serverless(), {}));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Said {
  readonly code: number;
  readonly out: string;
}
interface Running {
  readonly said: Promise<Said>;
  kill(): void;
}
/** As it is typed, with nothing in the environment but what is given. */
function start(args: readonly string[], env: Readonly<Record<string, string>>): Running {
  const child = spawn(process.execPath, [join(root, 'node_modules/osls/bin/serverless.js'), ...args], { cwd: root, env: { PATH: process.env['PATH'], HOME: folder, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (out += piece.toString()));
  const said = new Promise<Said>((resolve) => child.once('close', (code) => resolve({ code: code ?? -1, out })));
  return { said, kill: () => void child.kill('SIGKILL') };
}
const sls = (args: readonly string[], env: Readonly<Record<string, string>>): Promise<Said> => start(args, env).said;
const inGroup = ['--resource-group', groupName];
const given = ['--package', packed];

/** The one line of a complaint, and that there is no more of it. */
function complaint({ code, out }: Said): string {
  expect(code, out).to.equal(1);
  expect(out.split('\n').filter((line) => /^\s+at /.test(line)), out).to.deep.equal([]);
  const [said = '', next = ''] = out.slice(out.indexOf('Error:\n') + 7).split('\n');
  expect(next, out).to.match(/^(Environment: .*)?$/);
  return said;
}

const bodyOf = ({ body }: Call): { readonly properties: { readonly mode: string; readonly template: object; readonly parameters: Record<string, { value: unknown }> } } => JSON.parse(body.toString()) as never;
const uploads = ({ calls }: StandIn): Call[] => calls.filter(({ path }) => path.startsWith('/api/publish'));

describe('sls deploy, remove and info, as they are typed', function () {
  this.timeout(120_000);
  const open: StandIn[] = [];
  const standIn = async (): Promise<StandIn> => {
    const started = await startStandIn(names);
    open.push(started);
    return started;
  };
  before(once);
  after(() => Promise.all(open.map((each) => each.close())));

  it('packages, makes everything, publishes it, says so, and takes it away again when it is told which', async () => {
    const cloud = await standIn();
    const deployed = await sls(['deploy', ...inGroup, '--region', 'northeurope'], cloud.env);
    expect(deployed.code, deployed.out).to.equal(0);
    expect(deployed.out).to.include(`https://anyport.azurewebsites.net: ${names.length} functions`).and.to.not.include(adminToken);
    expect(cloud.group).to.deep.include({ location: 'northeurope', tags: { 'made-by-sls-deploy': 'anyport' } });
    expect(cloud.resources).to.have.length(template().resources.length);
    for (const { resourceType, name } of cloud.resources.map((id) => ({ resourceType: id.split('/').at(-2)!, name: id.split('/').at(-1)! }))) expect(deployed.out, resourceType).to.include(name);

    const state = await sls(['info', ...inGroup], cloud.env);
    expect(state.out).to.include('made by sls deploy').and.include('deployment: Succeeded').and.include(`functions: ${names.length} of ${names.length}`).and.include('package: published');

    expect(complaint(await sls(['remove', ...inGroup], cloud.env))).to.match(/^this deletes the resource group shop, \d+ resources and all orders in them; run it again with --confirm shop, or with --force$/);
    expect(cloud.calls.some(({ method }) => method === 'DELETE')).to.equal(false);
    const removed = await sls(['remove', ...inGroup, '--confirm', groupName], cloud.env);
    expect(removed.code, removed.out).to.equal(0);
    expect(removed.out).to.include('the resource group shop is gone');
    expect([cloud.group, cloud.resources]).to.deep.equal([undefined, []]);

    // What was received.
    expect(Buffer.compare(cloud.published!, zipped(await bundle())), 'the zip, byte by byte').to.equal(0);
    const [checked, put] = cloud.calls.filter(({ method, path }) => /deployments\/anyport/.test(path) && method !== 'GET');
    expect(bodyOf(put!).properties.template, 'the template as it was packaged').to.deep.equal(JSON.parse(readFileSync(join(packed, 'template.json'), 'utf8')));
    expect(checked!.path).to.include('/validate');
    expect(checked!.body.equals(put!.body), 'what is deployed is what was validated').to.equal(true);
    expect(bodyOf(put!).properties.mode).to.equal('Incremental');
    expect(bodyOf(put!).properties.parameters).to.deep.equal({ location: { value: 'northeurope' }, adminToken: { value: adminToken } });
    for (const { method, path, headers, body } of cloud.calls.filter(({ path: asked }) => !asked.startsWith('/msi/'))) {
      expect(headers.authorization, `${method} ${path}`).to.match(/^Bearer .+/);
      expect(headers, `${method} ${path}`).to.not.have.any.keys('x-functions-key', 'ocp-apim-subscription-key', 'x-zumo-auth');
      if (headers['content-type'] !== 'application/zip') expect(body.toString(), path).to.not.match(/(SharedAccessKey|AccountKey|accesskey|listKeys|connectionstring)=?\(?"?[A-Za-z0-9+/=]{8}/i);
    }
  });

  it('says what it would do and asks nobody, with no credentials at all', async () => {
    const cloud = await standIn();
    const { out, code } = await sls(['deploy', '--dry-run', ...given, ...inGroup], { AZURE_MANAGEMENT: cloud.url });
    expect(code, out).to.equal(0);
    expect(cloud.calls).to.deep.equal([]);
    expect(out).to.match(/^Nothing is done\. In the subscription \(AZURE_SUBSCRIPTION_ID is not set\), sls deploy would$/m);
    for (const { type } of template().resources) expect(out).to.include(type === 'Microsoft.Authorization/roleAssignments' ? 'role assignments' : `${type}  `);
    expect(out).to.include('Microsoft.ServiceBus/namespaces/queues  anyport-<hash>-bus/reserve-stock');
    expect(out).to.include('Storage Table Data Contributor  on Microsoft.Storage/storageAccounts/data<hash>');
    expect(out).to.include(`the package, ${readFileSync(join(packed, 'anyport.zip')).byteLength} bytes, and wait for its ${names.length} functions`);
    for (const name of names) expect(out.split('\n').map((line) => line.trim())).to.include(name);
  });

  it('says in one line what is missing, before it packages anything', async () => {
    const nowhere = join(folder, 'never');
    const said = complaint(await sls(['deploy', '--package', nowhere], {}));
    expect(said).to.match(/^missing: AZURE_SUBSCRIPTION_ID \(or --subscription\).*; ADMIN_TOKEN, 16 characters or more/);
  });

  it('completes when it is run again: after a half-failed provisioning, and after a death in the middle of the upload', async () => {
    const cases: readonly ((cloud: StandIn) => Promise<string>)[] = [
      async (cloud) => {
        cloud.failAt('Microsoft.EventHub/namespaces', 'QuotaExceeded', 'The number of namespaces in the subscription is 100 already.');
        return complaint(await sls(['deploy', ...given, ...inGroup], cloud.env));
      },
      async (cloud) => {
        cloud.fail('POST', /\/api\/publish/, 'says nothing');
        const running = start(['deploy', ...given, ...inGroup], cloud.env);
        while (uploads(cloud).length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
        running.kill();
        return `ended with ${(await running.said).code}`;
      },
    ];
    const said = await Promise.all(cases.map(async (failing) => {
      const cloud = await standIn();
      const first = await failing(cloud);
      expect(cloud.published, first).to.equal(undefined);
      const again = await sls(['deploy', ...given, ...inGroup], cloud.env);
      expect(again.code, again.out).to.equal(0);
      expect(cloud.resources).to.have.length(template().resources.length);
      expect(Object.keys(unzipSync(cloud.published!))).to.include('host.json');
      return first;
    }));
    expect(said[0]).to.match(/^the deployment has failed: Microsoft\.EventHub\/namespaces anyport-[0-9a-f]+-hubs: QuotaExceeded: The number of namespaces .* 100 already\.\. What was made stays; run sls deploy again/);
    expect(said[1]).to.equal('ended with -1');
  });
});

describe('sls deploy, on the bad days of a cloud', function () {
  this.timeout(60_000);
  const kept = { ...process.env };
  let cloud: StandIn;
  let lines: string[];
  let waits: number[];
  beforeEach(async () => {
    cloud = await startStandIn(names);
    Object.assign(process.env, cloud.env);
    lines = [];
    waits = [];
  });
  afterEach(async () => {
    await cloud.close();
    for (const name of Object.keys(cloud.env)) delete process.env[name];
    Object.assign(process.env, kept);
  });
  before(once);

  const world = (more: Partial<World> = {}): World => ({
    env: cloud.env, say: (line) => void lines.push(line), sleep: async (seconds) => void waits.push(seconds), answerSeconds: 20, ...more,
  });
  const said = (): string => lines.join('\n');
  /** What it complains of; undefined if it does not. */
  const refusalOf = (work: Promise<void>): Promise<string | undefined> => work.then(() => undefined, (error: unknown) => {
    if (!(error instanceof Complaint)) throw error;
    expect(error.message).to.not.include('\n');
    return error.message;
  });
  const deployed = (options: Options = {}, more: Partial<World> = {}): Promise<string | undefined> => refusalOf(deploy(serverless(), options, world(more)));
  const completes = async (): Promise<void> => {
    expect(await deployed()).to.equal(undefined);
    expect(cloud.published?.equals(readFileSync(join(packed, 'anyport.zip')))).to.equal(true);
    expect(cloud.resources).to.have.length(template().resources.length);
  };

  it('makes nothing twice when it is run again', async () => {
    await completes();
    const before = cloud.resources;
    await completes();
    expect(cloud.resources).to.deep.equal(before);
    expect(cloud.calls.filter(({ method, path }) => method === 'PUT' && /resourcegroups\/shop\?/.test(path))).to.have.length(1);
    expect(said()).to.include('the resource group shop is there');
  });

  it('comes back as late as it is told to, whoever is too busy', async () => {
    cloud.fail('GET', /resourcegroups\/shop\?/i, throttled(7));
    cloud.fail('POST', /\/api\/publish/, throttled(11), 2);
    await completes();
    expect(waits).to.include.members([7, 11]);
    expect(said()).to.match(/has too much to do \(429\): again in 7 s/);
    expect(uploads(cloud).map(({ body }) => body.byteLength), 'the whole package each time').to.deep.equal(Array.from({ length: 3 }, () => cloud.published!.byteLength));
  });

  it('does not wait for an hour, and goes on when it is run again', async () => {
    cloud.fail('PUT', /deployments\/anyport/, throttled(3_600));
    expect(await deployed()).to.match(/has too much to do \(429\), and asks to be left alone for 3600 s; run the command again then$/);
    await completes();
  });

  it('gives up on one that fails again and again, with one line, and goes on when it is run again', async () => {
    cloud.fail('POST', /\/validate/, { status: 503, body: { error: { code: 'ServerTimeout' } } }, 6);
    expect(await deployed()).to.match(/is not up \(503\), 6 times; run the command again later, it goes on where it is$/);
    expect(waits).to.deep.equal([1, 2, 4, 8, 16]);
    await completes();
  });

  it('sends the package again when the line breaks, and gives up when it always does', async () => {
    cloud.fail('POST', /\/api\/publish/, 'breaks off', 2);
    await completes();
    expect(uploads(cloud)).to.have.length(3);
    expect(said()).to.match(/has broken off \(\w+\): again in 1 s/);
    cloud.fail('POST', /\/api\/publish/, 'breaks off', 6);
    expect(await deployed()).to.match(/has broken off \(\w+\), 6 times; run the command again later/);
    await completes();
  });

  it('does not wait for an answer for ever', async () => {
    cloud.fail('GET', /resourcegroups\/shop\?/i, 'says nothing', 2);
    expect(await deployed({}, { answerSeconds: 0.5 })).to.equal(undefined);
    expect(lines.filter((line) => /has not answered in 0.5 s: again in/.test(line))).to.have.length(2);
  });

  it('says who is not let in, and why: no credentials, a token that has run out, each role that is missing', async () => {
    process.env['AZURE_TOKEN_CREDENTIALS'] = 'EnvironmentCredential';
    expect(await deployed()).to.match(/^nobody is logged in to Azure here: run az login, or set AZURE_TENANT_ID/);
    Object.assign(process.env, cloud.env);
    cloud.fail('GET', /resourcegroups\/shop\?/i, unauthenticated);
    expect(await deployed()).to.match(/^Azure does not take these credentials for the resource group shop \(401 ExpiredAuthenticationToken: .*\); log in again/);
    cloud.fail('PUT', /resourcegroups\/shop\?/, forbidden('Microsoft.Resources/subscriptions/resourcegroups/write'));
    expect(await deployed()).to.match(/^the resource group shop: not allowed \(.*\); the role that is missing: Contributor, on the resource group or, if the group is not there yet, on the subscription$/);
    cloud.fail('POST', /\/validate/, forbidden('Microsoft.Authorization/roleAssignments/write'));
    expect(await deployed()).to.match(/^the template: not allowed \(AuthorizationFailed: .*\); the role that is missing: Role Based Access Control Administrator \(or Owner\)/);
    cloud.fail('POST', /\/api\/publish/, { status: 403, body: 'Forbidden' });
    expect(await deployed()).to.equal('the package: not allowed (Forbidden); the role that is missing: Website Contributor on the app, or Contributor on the resource group');
    await completes();
  });

  it('waits for another deployment that is under way, and for another package', async () => {
    cloud.addGroup();
    cloud.beBusy(3);
    cloud.fail('POST', /\/api\/publish/, publishing, 2);
    await completes();
    expect(said()).to.include('another deployment is under way; it is waited for').and.include('another package is being published; it is waited for');
    expect(waits).to.include(3);
  });

  it('waits until the app may write to its storage, and until its publisher is up', async () => {
    cloud.fail('POST', /\/api\/publish/, storageForbidden, 3);
    cloud.fail('POST', /\/api\/publish/, { status: 404, body: 'Not Found' });
    await completes();
    expect(lines.filter((line) => /may not write to its storage yet|is not up yet/.test(line))).to.have.length(4);
    cloud.fail('POST', /\/api\/publish/, { status: 400, body: { Message: 'the package has no host.json' } });
    expect(await deployed(), 'another 400 is no matter of time').to.equal('the package: 400 the package has no host.json');
  });

  it('does not take a publisher who goes away for one who has failed, and one who has failed for a success', async () => {
    cloud.recycle();
    await completes();
    for (const [state, word] of [[3, 'failed'], [5, 'cancelled, since another one is being published'], [6, 'published in part']] as const) {
      const next = await startStandIn(names);
      Object.assign(process.env, next.env);
      next.endWith(state, 'for a reason');
      expect(await refusalOf(deploy(serverless(), {}, { ...world(), env: next.env }))).to.equal(`the package was not published: ${word}: for a reason; run sls deploy again`);
      await next.close();
    }
  });

  it('is no success when the platform does not find every function', async () => {
    cloud.find(names.slice(2));
    expect(await deployed()).to.match(new RegExp(`^the platform has not found 2 of ${names.length} functions \\(listProducts, getProduct\\): the search for them has taken more than 5 minutes`));
    cloud.find(names);
    await completes();
  });

  it('says what is wrong with a template, and deploys nothing', async () => {
    expect(await refusalOf(deploy(serverless({ region: 'westeurope', resourceGroup: groupName, parameters: { name: 'anyport' } }), {}, world()))).to.equal(undefined);
    const put = cloud.calls.filter(({ method, path }) => method === 'PUT' && /deployments/.test(path));
    expect(bodyOf(put[0]!).properties.parameters['name']).to.deep.equal({ value: 'anyport' });
    cloud.fail('POST', /\/validate/, { status: 400, body: { error: { code: 'InvalidTemplateDeployment', message: 'outside', details: [{ code: 'InvalidSku', message: 'There is no\nFC1 in this region.' }] } } });
    expect(await deployed()).to.equal('the template: 400 InvalidSku: There is no FC1 in this region.');
    expect(cloud.calls.filter(({ method, path }) => method === 'PUT' && /deployments/.test(path))).to.have.length(put.length);
  });

  it('sends credentials to the cloud, to a stand-in on this machine, and to nobody else', async () => {
    for (const address of ['https://127.0.0.1:1', 'http://127.0.0.1.example.org:1', 'http://localhost:1', 'http://127.0.0.1:1/x', 'http://10.0.0.1:1', 'http://user@127.0.0.1:1']) {
      expect(await deployed({}, { env: { ...cloud.env, AZURE_MANAGEMENT: address } }), address).to.match(/^AZURE_MANAGEMENT is for a stand-in on this machine/);
    }
    cloud.fail('GET', /operations\?/, { status: 200, body: { value: [], nextLink: 'http://127.0.0.1:1/more' } });
    expect(await deployed()).to.equal('the operations of the deployment: the next page is at 127.0.0.1:1, where no credentials are sent');
    cloud.fail('GET', /sites\/[^/]+\?/, { status: 200, body: { properties: { hostNameSslStates: [{ name: 'scm.example.org', hostType: 'Repository' }] } } });
    expect(await deployed()).to.equal('the app names scm.example.org as its publisher, where no credentials are sent');
    expect(uploads(cloud)).to.deep.equal([]);
  });

  it('refuses settings that are none, before it asks anybody', async () => {
    const with_ = (provider: ProviderConfig, options: Options = {}, env: object = {}): Promise<string | undefined> => refusalOf(deploy(serverless(provider), options, world({ env: { ...cloud.env, ...env } })));
    const good = { region: 'westeurope', resourceGroup: groupName };
    expect(await with_({})).to.equal('missing: provider.resourceGroup in serverless.yml (or --resource-group); provider.region in serverless.yml (or --region)');
    expect(await with_(good, { subscription: 'mine' })).to.equal('mine is no id of a subscription');
    expect(await with_({ ...good, resourceGroup: 'a/b' })).to.equal('a/b is no name of a resource group');
    expect(await with_({ ...good, region: 'West Europe' })).to.match(/^West Europe is no region/);
    expect(await with_(good, {}, { ADMIN_TOKEN: 'short' })).to.match(/^missing: ADMIN_TOKEN/);
    expect(await with_(good, { package: join(folder, 'nowhere') })).to.match(/anyport\.zip cannot be read \(ENOENT\); sls package writes it$/);
    expect(cloud.calls).to.deep.equal([]);
  });

  it('removes nothing that it has not made: no group of somebody else, and none in which something else lies', async () => {
    const removed = (options: Options = { confirm: groupName }): Promise<string | undefined> => refusalOf(remove(serverless(), options, world()));
    cloud.addGroup();
    expect(await removed()).to.match(/^the resource group shop was there before sls deploy, so it is not deleted/);
    await cloud.close();
    cloud = await startStandIn(names);
    Object.assign(process.env, cloud.env);
    await completes();
    cloud.addForeign('Microsoft.Storage/storageAccounts', 'holidays');
    expect(await removed({ force: 'true' })).to.match(/^in the resource group shop lies what sls deploy has not made \(Microsoft\.Storage\/storageAccounts holidays\), so it is not deleted/);
    expect(await removed({ confirm: 'another' })).to.match(/^in the resource group shop lies/);
    expect(cloud.calls.some(({ method }) => method === 'DELETE')).to.equal(false);
  });

  it('removes what the platform has put beside its component as well, after a half-failed deployment too, and twice', async () => {
    cloud.failAt('Microsoft.Web/serverfarms', 'NoFlex', 'not in this region');
    expect(await deployed()).to.match(/^the deployment has failed: Microsoft\.Web\/serverfarms [^:]*: NoFlex: not in this region/);
    cloud.addForeign('microsoft.insights/actiongroups', 'Application Insights Smart Detection');
    expect(await refusalOf(remove(serverless(), { confirm: 'another' }, world()))).to.match(/run it again with --confirm shop, or with --force$/);
    expect(await refusalOf(remove(serverless(), { force: 'true' }, world()))).to.equal(undefined);
    expect(cloud.group).to.equal(undefined);
    expect(await refusalOf(remove(serverless(), { force: 'true' }, world()))).to.equal(undefined);
    expect(said()).to.match(/there is no resource group shop; nothing is left to remove$/);
    expect(cloud.calls.filter(({ method }) => method === 'DELETE')).to.have.length(1);
  });

  it('does not deploy into a group that is being deleted', async () => {
    await completes();
    cloud.fail('GET', /resourcegroups\/shop\?/i, { status: 200, body: { name: groupName, location: 'westeurope', properties: { provisioningState: 'Deleting' } } });
    expect(await deployed()).to.equal('the resource group shop is being deleted; run sls deploy again when it is gone');
  });

  it('tells what is deployed at each stage: nothing, a group alone, a failed deployment, everything', async () => {
    const told = async (): Promise<string> => {
      lines = [];
      expect(await refusalOf(info(serverless(), {}, world()))).to.equal(undefined);
      return said();
    };
    expect(await told()).to.match(/there is no resource group shop: nothing is deployed$/);
    cloud.addGroup();
    expect(await told()).to.match(/resource group: shop, in northeurope, not made by sls deploy\ndeployment: there is no anyport$/);
    cloud.failAt('Microsoft.Web/sites', 'NoQuota', 'no more sites');
    await deployed();
    expect(await told()).to.include('deployment: Failed').and.include('no more sites');
    await completes();
    expect(await told()).to.include(`functions: ${names.length} of ${names.length}`);
    expect(cloud.calls.at(-1)!.path).to.equal('/api/deployments/latest');
  });

  it('tells, without asking, what remove and info would do', async () => {
    await remove(serverless(), { 'dry-run': 'true' }, world({ env: {} }));
    await info(serverless(), { 'dry-run': 'true' }, world({ env: {} }));
    expect(said()).to.include('delete the resource group shop, with all resources and all orders in it').and.include('want --confirm shop, or --force').and.include('sls info would read the resource group shop');
    expect(cloud.calls).to.deep.equal([]);
    expect(await refusalOf(remove(serverless(), {}, world({ env: {} })))).to.match(/^missing: AZURE_SUBSCRIPTION_ID/);
    expect(subscription).to.match(/^0{8}-/);
  });
});

describe('what docs/azure.md tells one to type', () => {
  const doc = readFileSync(join(root, 'docs/azure.md'), 'utf8');

  it('are commands and options that the provider has', async () => {
    interface Command {
      readonly options?: Readonly<Record<string, { readonly shortcut?: string }>>;
      readonly commands?: Readonly<Record<string, Command>>;
    }
    const { default: Provider } = (await import(pathToFileURL(join(root, 'serverless/index.mjs')).href)) as { default: new (...args: unknown[]) => { readonly commands: Readonly<Record<string, Command>> } };
    const nothing = (): void => undefined;
    const { commands } = new Provider({ setProvider: nothing, configSchemaHandler: { defineProvider: nothing, defineFunctionEvent: nothing }, classes: {}, service: {} }, {});
    const typed = [...doc.matchAll(/^npx sls (\w+(?: local)?)(.*)$/gm)];
    expect(typed.length).to.be.greaterThan(5);
    for (const [line, name = '', rest = ''] of typed) {
      if (name === 'package') continue;
      const command = name.split(' ').reduce<Command | undefined>((found, word) => found?.commands?.[word], { commands });
      expect(command, line).to.be.an('object');
      const options = Object.entries(command!.options ?? {}).flatMap(([option, { shortcut }]) => [`--${option}`, ...(shortcut === undefined ? [] : [`-${shortcut}`])]);
      expect(options, line).to.include.members(rest.match(/(?<= )--?[a-z][a-z-]*/g) ?? []);
    }
  });

  it('are settings that the template has, and bodies that the doors take', () => {
    const [block = ''] = /```\nprovider:\n[^`]*/.exec(doc) ?? [];
    const named = [...block.matchAll(/^ {4}(\w+): /gm)].map(([, name]) => name);
    expect(named).to.have.length(2);
    expect(Object.keys(template().parameters)).to.include.members(named);
    const asked = [...doc.matchAll(/^curl -X (\w+) "\$SHOP([^"]+)".* -d '([^']+)'$/gm)];
    expect(asked).to.have.length(2);
    for (const [line, method, path = '', body = ''] of asked) {
      const door = Object.values(doors as Readonly<Record<string, Door>>).find((each) => each.method === method && each.path === path.replace('/MUG', '/{sku}'));
      expect(door?.body?.safeParse(JSON.parse(body)).success, line).to.equal(true);
    }
  });
});
