import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { queues, streams, subscriptions } from '../../core/flow.ts';
import { connections, functionSeconds, functions } from '../../handlers/functions.ts';
import { parseSettings } from '../../handlers/settings.ts';
import { hostJson } from '../../serverless/host.ts';
import { roles, template, versions } from '../../serverless/template.ts';
import { evaluate, parse, type Parsed, type Resource } from './arm.ts';

/** THE TEMPLATE, as strictly as it can be checked without a cloud. What is published about each type and is used here is written down below; anything else is refused. */
const parsed = JSON.parse(JSON.stringify(template())) as Parsed;
const given = { adminToken: 'a token of sixteen and more' };
const evaluation = evaluate(parsed, given);
const worked = (resource: Resource): Resource => evaluation.of(resource) as Resource;
const all = parsed.resources.map(worked);
const of = (type: string): Resource[] => all.filter((each) => each.type === type);
const propertiesOf = (resource: Resource | undefined): Record<string, unknown> => (resource?.['properties'] ?? {}) as Record<string, unknown>;
const idOf = ({ type, name }: Resource): string => {
  const [provider, ...kinds] = type.split('/');
  const names = name.split('/');
  return `${String((evaluation.of('[resourceGroup().id]')))}/providers/${provider}${kinds.map((kind, nth) => `/${kind}/${names[nth]}`).join('')}`;
};

type Shape = 'text' | 'number' | 'boolean' | 'id' | readonly (string | number)[] | List | { readonly [name: string]: Shape };
class List {
  readonly of: Shape;
  constructor(of: Shape) {
    this.of = of;
  }
}
const boolean = 'boolean';
const account: Shape = {
  allowSharedKeyAccess: boolean, allowBlobPublicAccess: boolean, supportsHttpsTrafficOnly: boolean, minimumTlsVersion: ['TLS1_0', 'TLS1_1', 'TLS1_2', 'TLS1_3'],
};

/** https://learn.microsoft.com/azure/templates/<type>, in the version of the template. */
const published: Readonly<Record<keyof typeof versions, Shape>> = {
  'Microsoft.OperationalInsights/workspaces': { sku: { name: ['PerGB2018', 'Free', 'Standalone', 'PerNode', 'CapacityReservation'] }, retentionInDays: 'number' },
  'Microsoft.Insights/components': { Application_Type: ['web', 'other'], WorkspaceResourceId: 'id', DisableLocalAuth: boolean },
  'Microsoft.Storage/storageAccounts': account,
  'Microsoft.Storage/storageAccounts/blobServices': {},
  'Microsoft.Storage/storageAccounts/blobServices/containers': { publicAccess: ['None', 'Blob', 'Container'] },
  'Microsoft.Storage/storageAccounts/tableServices': {},
  'Microsoft.Storage/storageAccounts/tableServices/tables': {},
  'Microsoft.ServiceBus/namespaces': { disableLocalAuth: boolean, minimumTlsVersion: ['1.0', '1.1', '1.2'] },
  'Microsoft.ServiceBus/namespaces/queues': {
    lockDuration: 'text', maxDeliveryCount: 'number', requiresDuplicateDetection: boolean, requiresSession: boolean, enablePartitioning: boolean,
    deadLetteringOnMessageExpiration: boolean, defaultMessageTimeToLive: 'text', maxSizeInMegabytes: [1_024, 2_048, 3_072, 4_096, 5_120],
  },
  'Microsoft.EventHub/namespaces': { disableLocalAuth: boolean, minimumTlsVersion: ['1.0', '1.1', '1.2'], isAutoInflateEnabled: boolean, maximumThroughputUnits: 'number' },
  'Microsoft.EventHub/namespaces/eventhubs': { partitionCount: 'number', retentionDescription: { cleanupPolicy: ['Compact', 'Delete'], retentionTimeInHours: 'number' } },
  'Microsoft.EventHub/namespaces/eventhubs/consumergroups': {},
  'Microsoft.Communication/emailServices': { dataLocation: 'text' },
  'Microsoft.Communication/emailServices/domains': { domainManagement: ['AzureManaged', 'CustomerManaged', 'CustomerManagedInExchangeOnline'], userEngagementTracking: ['Disabled', 'Enabled'] },
  'Microsoft.Communication/communicationServices': { dataLocation: 'text', linkedDomains: new List('id') },
  'Microsoft.Web/serverfarms': { reserved: boolean },
  'Microsoft.Web/sites': {
    serverFarmId: 'id', httpsOnly: boolean, clientAffinityEnabled: boolean,
    functionAppConfig: {
      deployment: { storage: { type: ['blobContainer'], value: 'text', authentication: { type: ['SystemAssignedIdentity', 'UserAssignedIdentity', 'StorageAccountConnectionString'] } } },
      runtime: { name: ['dotnet-isolated', 'node', 'java', 'powershell', 'python', 'custom'], version: ['20', '22', '24'] },
      scaleAndConcurrency: { maximumInstanceCount: 'number', instanceMemoryMB: [512, 2_048, 4_096] },
    },
    siteConfig: {
      minTlsVersion: ['1.0', '1.1', '1.2', '1.3'], scmMinTlsVersion: ['1.0', '1.1', '1.2', '1.3'], http20Enabled: boolean, ftpsState: ['AllAllowed', 'FtpsOnly', 'Disabled'],
      appSettings: new List({ name: 'text', value: 'text' }),
    },
  },
  'Microsoft.Web/sites/basicPublishingCredentialsPolicies': { allow: boolean },
  'Microsoft.Authorization/roleAssignments': { roleDefinitionId: 'text', principalId: 'text', principalType: ['User', 'Group', 'ServicePrincipal', 'ForeignGroup', 'Device'] },
};

/** https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules, of the last part of the name. */
const nameRules: Readonly<Record<string, RegExp>> = {
  'Microsoft.OperationalInsights/workspaces': /^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$/,
  'Microsoft.Storage/storageAccounts': /^[a-z0-9]{3,24}$/,
  'Microsoft.Storage/storageAccounts/blobServices/containers': /^[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]$/,
  'Microsoft.Storage/storageAccounts/tableServices/tables': /^[A-Za-z][A-Za-z0-9]{2,62}$/,
  'Microsoft.ServiceBus/namespaces': /^[A-Za-z](?!.*(-sb|-mgmt)$)[A-Za-z0-9-]{4,48}[A-Za-z0-9]$/,
  'Microsoft.ServiceBus/namespaces/queues': /^[A-Za-z0-9][A-Za-z0-9._-]{0,258}[A-Za-z0-9]$/,
  'Microsoft.EventHub/namespaces': /^[A-Za-z](?!.*(-sb|-mgmt)$)[A-Za-z0-9-]{6,48}[A-Za-z0-9]$/,
  'Microsoft.EventHub/namespaces/eventhubs': /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}[A-Za-z0-9]$/,
  'Microsoft.EventHub/namespaces/eventhubs/consumergroups': /^[A-Za-z0-9][A-Za-z0-9._-]{0,48}[A-Za-z0-9]$/,
  'Microsoft.Communication/emailServices': /^[A-Za-z0-9-]{1,63}$/,
  'Microsoft.Communication/communicationServices': /^[A-Za-z0-9_-]{1,63}$/,
  'Microsoft.Web/sites': /^(?!-)[A-Za-z0-9-]{2,60}(?<!-)$/,
  'Microsoft.Web/serverfarms': /^[A-Za-z0-9-]{1,60}$/,
};

function fits(value: unknown, shape: Shape, where: string): void {
  if (shape === 'id') return void expect(all.map(idOf), where).to.include(value);
  if (shape === 'text' || shape === 'number' || shape === 'boolean') return void expect(value, where).to.be.a(shape === 'text' ? 'string' : shape);
  if (shape instanceof List) {
    expect(value, where).to.be.an('array');
    return (value as unknown[]).forEach((each, nth) => fits(each, shape.of, `${where}/${nth}`));
  }
  if (Array.isArray(shape)) return void expect(shape as readonly unknown[], where).to.include(value);
  expect(value, where).to.be.an('object');
  for (const [name, each] of Object.entries(value as object)) {
    expect(shape, `${where} knows no ${name}`).to.have.property(name);
    fits(each, (shape as Readonly<Record<string, Shape>>)[name]!, `${where}/${name}`);
  }
}

describe('the template of the infrastructure', () => {
  it('has expressions that all can be worked out, of parameters and variables of which none is idle', () => {
    const text = JSON.stringify([parsed.resources, parsed.outputs, parsed.variables]);
    for (const name of Object.keys(parsed.parameters)) expect(text, name).to.include(`parameters('${name}')`);
    for (const name of Object.keys(parsed.variables)) expect(text, name).to.include(`variables('${name}')`);
    expect(JSON.stringify(all), 'nothing is left that looks like one').to.not.match(/\b(parameters|variables|resourceId|reference|concat)\(/);
    for (const [name, { value }] of Object.entries(parsed.outputs)) expect(evaluation.of(value), name).to.be.a('string').and.not.equal('');
    for (const wrong of ["[parameters('nix')]", "[variables('nix')]", "[nix('x')]", "[resourceId('Microsoft.Web/sites', 'nix')]", "[concat('a']", "[concat('a'))]", '[1 2]']) {
      expect(() => evaluation.of(wrong), wrong).to.throw(Error);
    }
  });

  it('says everything that has a type, a version and a name once, each in the one version', () => {
    const names = all.map(({ type, name, scope }) => `${type} ${name} ${scope ?? ''}`);
    expect(new Set(names).size).to.equal(names.length);
    for (const { type, apiVersion, name } of all) {
      expect(apiVersion, type).to.equal(versions[type as keyof typeof versions]);
      if (type !== 'Microsoft.Authorization/roleAssignments') expect(name.split('/').length, name).to.equal(type.split('/').length - 1);
    }
    expect(new Set(all.map(({ type }) => type))).to.deep.equal(new Set(Object.keys(versions)));
  });

  it('uses nothing that its vendor does not publish for the type', () => {
    for (const each of all) fits(propertiesOf(each), published[each.type as keyof typeof versions], `${each.type} ${each.name}`);
  });

  it('has names that are allowed, with the shortest and with the longest name of the app', () => {
    for (const name of ['any', 'anyport', 'elevenchars']) {
      const other = evaluate(parsed, { ...given, name });
      for (const { type, name: expression } of parsed.resources) {
        const rule = nameRules[type];
        if (rule) expect(String(other.of(expression)).split('/').at(-1), type).to.match(rule);
      }
    }
  });

  it('waits for everything that it refers to, and never in a circle', () => {
    const awaited = new Map(all.map((each) => [each.scope === undefined ? idOf(each) : each.name, each.dependsOn ?? []]));
    const closure = (id: string, path: readonly string[] = []): Set<string> => {
      expect(path, 'a circle').to.not.include(id);
      const direct = awaited.get(id);
      expect(direct, `${id} is awaited and not there`).to.be.an('array');
      return new Set(direct!.flatMap((each) => [each, ...closure(each, [...path, id])]));
    };
    parsed.resources.forEach((resource, nth) => {
      const reached = closure(resource.scope === undefined ? idOf(all[nth]!) : all[nth]!.name);
      evaluation.of(resource);
      for (const id of evaluation.referred) expect([...reached], `${resource.type} refers to ${id}`).to.include(id);
      const parent = all.find((each) => each.scope === undefined && idOf(all[nth]!).startsWith(`${idOf(each)}/`) && resource.scope === undefined);
      if (parent) expect([...reached], `${all[nth]!.name} is a part of ${parent.name}`).to.include(idOf(parent));
      for (const id of JSON.stringify(propertiesOf(all[nth])).match(/\/subscriptions\/[^"]*\/providers\/Microsoft\.(?!Authorization)[^"]*/g) ?? []) expect([...reached], id).to.include(id);
    });
  });

  it('has a queue for each queue of the flow, a hub for each stream, and a group in it for each that hears it pushed', () => {
    const last = ({ name }: Resource): string => name.split('/').slice(1).join('/');
    expect(of('Microsoft.ServiceBus/namespaces/queues').map(last)).to.have.members([...queues]);
    expect(of('Microsoft.EventHub/namespaces/eventhubs').map(last)).to.have.members([...streams]);
    const listeners = subscriptions.filter(({ kind, polled }) => kind === 'stream' && !polled).map(({ channel, service }) => `${channel}/${service}`);
    expect(of('Microsoft.EventHub/namespaces/eventhubs/consumergroups').map(last)).to.have.members(listeners);
    expect(functions.flatMap((row) => (row.kind === 'stream' ? [`${row.stream}/${row.service}`] : []))).to.have.members(listeners);
  });

  it('sets what the guarantees need: many deliveries, nothing swallowed, nothing that expires before somebody has heard it', () => {
    for (const queue of of('Microsoft.ServiceBus/namespaces/queues')) {
      expect(propertiesOf(queue), queue.name).to.include({ maxDeliveryCount: 100, requiresDuplicateDetection: false, requiresSession: false, deadLetteringOnMessageExpiration: true, defaultMessageTimeToLive: 'P10675199DT2H48M5.4775807S' });
    }
    for (const hub of of('Microsoft.EventHub/namespaces/eventhubs')) expect(propertiesOf(hub), hub.name).to.deep.include({ retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: 168 } });
    expect(of('Microsoft.EventHub/namespaces')[0], 'more than a day is kept in this tier and above').to.deep.include({ sku: { name: 'Standard', tier: 'Standard', capacity: 1 } });
  });

  it('runs on Flex Consumption and Node 22, over HTTPS alone', () => {
    const [site] = of('Microsoft.Web/sites');
    expect(of('Microsoft.Web/serverfarms')[0]).to.deep.include({ sku: { name: 'FC1', tier: 'FlexConsumption' } });
    expect(propertiesOf(site)).to.deep.include({ httpsOnly: true });
    expect(propertiesOf(site)['functionAppConfig']).to.deep.include({ runtime: { name: 'node', version: '22' } });
    expect(propertiesOf(site)['siteConfig']).to.include({ minTlsVersion: '1.2', ftpsState: 'Disabled' });
    for (const each of of('Microsoft.Storage/storageAccounts')) expect(propertiesOf(each)).to.include({ supportsHttpsTrafficOnly: true, minimumTlsVersion: 'TLS1_2', allowBlobPublicAccess: false });
  });

  it('opens nothing with a key: keys are off, none is asked for, and whoever publishes shows who he is', () => {
    expect(JSON.stringify(parsed)).to.not.match(/list(Keys|ConnectionStrings|AccountSas|Secrets)|SharedAccessKey|AccountKey|accesskey=|InstrumentationKey/i);
    for (const type of ['Microsoft.ServiceBus/namespaces', 'Microsoft.EventHub/namespaces']) expect(propertiesOf(of(type)[0]), type).to.include({ disableLocalAuth: true });
    for (const each of of('Microsoft.Storage/storageAccounts')) expect(propertiesOf(each)).to.include({ allowSharedKeyAccess: false });
    expect(propertiesOf(of('Microsoft.Insights/components')[0])).to.include({ DisableLocalAuth: true });
    expect(of('Microsoft.Web/sites/basicPublishingCredentialsPolicies').map((each) => [each.name.split('/')[1], propertiesOf(each)['allow']])).to.deep.equal([['ftp', false], ['scm', false]]);
    for (const [name, { type, defaultValue }] of Object.entries(parsed.parameters)) {
      if (/token|secret/i.test(name)) expect({ type, defaultValue }, name).to.satisfy((each: typeof parsed.parameters[string]) => each.type === 'securestring' && (each.defaultValue === undefined || each.defaultValue === '[newGuid()]'));
    }
    for (const { value } of Object.values(parsed.outputs)) expect(String(value)).to.not.match(/adminToken|Secret/);
  });

  it('lets the app\'s identity do what it has to, on each resource by itself', () => {
    const names = Object.fromEntries(Object.entries(roles).map(([name, id]) => [id, name]));
    const may = of('Microsoft.Authorization/roleAssignments').map((each) => {
      const scope = String(each.scope);
      expect(all.map(idOf).some((id) => id.endsWith(`/providers/${scope}`)), scope).to.equal(true);
      return `${names[String(propertiesOf(each)['roleDefinitionId']).split('/').at(-1)!]} on ${scope.replace(/\/(host|data)[0-9a-f]+$/, '/$1').replace(/-[0-9a-f]{13}/, '')}`;
    });
    expect(may).to.have.members([
      'Storage Blob Data Owner on Microsoft.Storage/storageAccounts/host',
      'Storage Table Data Contributor on Microsoft.Storage/storageAccounts/data',
      ...queues.map((name) => `Azure Service Bus Data Owner on Microsoft.ServiceBus/namespaces/anyport-bus/queues/${name}`),
      'Azure Event Hubs Data Receiver on Microsoft.EventHub/namespaces/anyport-hubs',
      'Azure Event Hubs Data Sender on Microsoft.EventHub/namespaces/anyport-hubs',
      'Communication and Email Service Owner on Microsoft.Communication/communicationServices/anyport',
      'Monitoring Metrics Publisher on Microsoft.Insights/components/anyport',
    ]);
  });

  it('gives the app settings that the shop understands, and the triggers a connection each', () => {
    const settings = (propertiesOf(of('Microsoft.Web/sites')[0])['siteConfig'] as { appSettings: { name: string; value: string }[] }).appSettings;
    const env = Object.fromEntries(settings.map(({ name, value }) => [name, value]));
    expect(Object.keys(env).length).to.equal(settings.length);
    expect(env['APPLICATION_INSIGHTS_NO_STATSBEAT']).to.equal('true');
    const { adapters, azure, adminToken, secrets, sampleCatalogue } = parseSettings(env);
    expect(new Set(Object.values(adapters))).to.deep.equal(new Set(['azure']));
    expect(azure.serviceBus).to.match(/^anyport-[0-9a-f]+-bus\.servicebus\.windows\.net$/);
    expect(azure.eventHubs).to.match(/^anyport-[0-9a-f]+-hubs\.servicebus\.windows\.net$/);
    expect(azure.tables).to.match(/^https:\/\/data[0-9a-f]+\.table\.core\.windows\.net$/);
    expect(azure.table).to.equal(of('Microsoft.Storage/storageAccounts/tableServices/tables')[0]!.name.split('/').at(-1));
    expect(azure.email).to.equal('https://anyport.europe.communication.azure.com');
    expect(azure.emailFrom).to.equal('DoNotReply@0.azurecomm.net');
    expect({ adminToken, demo: secrets.demo?.length, sampleCatalogue }).to.deep.equal({ adminToken: given.adminToken, demo: 36, sampleCatalogue: false });
    for (const name of Object.values(connections)) {
      expect(env[`${name}__fullyQualifiedNamespace`], name).to.match(/\.servicebus\.windows\.net$/);
      expect(env, 'this would be taken for a connection string').to.not.have.property(name);
    }
    expect(env['AzureWebJobsStorage__accountName']).to.equal(of('Microsoft.Storage/storageAccounts')[0]!.name);
    // They are set by the plan, and refused here (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#considerations).
    for (const name of ['FUNCTIONS_WORKER_RUNTIME', 'FUNCTIONS_EXTENSION_VERSION', 'WEBSITE_NODE_DEFAULT_VERSION', 'AzureWebJobsStorage']) expect(env).to.not.have.property(name);
  });

  it('reads expressions as they are meant', () => {
    expect(parse("concat('it''s', toLower(variables('x')).a.b, 3)")).to.deep.equal({
      is: 'call', name: 'concat', args: [
        { is: 'value', value: "it's" },
        { is: 'member', name: 'b', of: { is: 'member', name: 'a', of: { is: 'call', name: 'toLower', args: [{ is: 'call', name: 'variables', args: [{ is: 'value', value: 'x' }] }] } } },
        { is: 'value', value: 3 },
      ],
    });
  });
});

describe('docs/azure.md', () => {
  const doc = readFileSync(fileURLToPath(new URL('../../docs/azure.md', import.meta.url)), 'utf8');
  const leaves = (value: object, path: readonly string[] = []): [string, unknown][] =>
    Object.entries(value).flatMap(([name, each]) => (typeof each === 'object' && each !== null ? leaves(each as object, [...path, name]) : [[[...path, name].join('.'), each] as [string, unknown]]));

  it('explains each setting of host.json, with its value and the page of its maker', () => {
    const rows = doc.split('\n').filter((line) => line.startsWith('| `'));
    for (const [path, value] of leaves(hostJson)) {
      const row = rows.find((line) => line.startsWith(`| \`${path}\` | \`${String(value)}\` |`));
      expect(row, `${path} = ${String(value)}`).to.be.a('string');
      expect(row, path).to.match(/https:\/\/learn\.microsoft\.com\//);
    }
  });

  it('names each type of resource with its version and page, and each role', () => {
    for (const [type, version] of Object.entries(versions)) expect(doc, type).to.include(`| \`${type}\` | ${version} |`).and.include(`https://learn.microsoft.com/azure/templates/${type.toLowerCase()}`);
    for (const role of Object.keys(roles)) expect(doc, role).to.include(role);
  });

  it('lets no function run shorter than its lock is renewed, nor so short that a handler without an end is not parked before', () => {
    expect(hostJson.extensions.serviceBus.maxAutoLockRenewalDuration).to.equal(hostJson.functionTimeout);
    expect((functionSeconds * 2) / 3).to.be.greaterThan(300 + 10);
  });
});
