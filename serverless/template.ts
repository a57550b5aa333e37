import { queues, streams, subscriptions } from '../core/flow.ts';
import { connections } from '../handlers/functions.ts';

/**
 * THE INFRASTRUCTURE, as a template of Azure Resource Manager, made of the flow: a queue for each queue, a hub with its listeners for each stream.
 *
 * - No key and no connection string opens anything: keys are switched off wherever the service can do without, and the app shows who it is by the identity that the platform
 *   gives it. It may do what it has to on each resource, and nothing else anywhere.
 * - Names that all the world shares end with a hash of the resource group, so that the same template is good for as many shops as one likes.
 * - Which page describes each type in its version, and why each setting is what it is, stands in docs/azure.md.
 */
interface Resource {
  readonly type: string;
  readonly apiVersion: string;
  readonly name: string;
  readonly scope?: string;
  readonly location?: string;
  readonly kind?: string;
  readonly sku?: object;
  readonly identity?: object;
  readonly dependsOn?: readonly string[];
  readonly properties?: object;
}

export interface Template {
  readonly $schema: string;
  readonly contentVersion: string;
  readonly parameters: Readonly<Record<string, object>>;
  readonly variables: Readonly<Record<string, string>>;
  readonly resources: readonly Resource[];
  readonly outputs: Readonly<Record<string, object>>;
}

export const versions = {
  'Microsoft.OperationalInsights/workspaces': '2023-09-01',
  'Microsoft.Insights/components': '2020-02-02',
  'Microsoft.Storage/storageAccounts': '2023-05-01',
  'Microsoft.Storage/storageAccounts/blobServices': '2023-05-01',
  'Microsoft.Storage/storageAccounts/blobServices/containers': '2023-05-01',
  'Microsoft.Storage/storageAccounts/tableServices': '2023-05-01',
  'Microsoft.Storage/storageAccounts/tableServices/tables': '2023-05-01',
  'Microsoft.ServiceBus/namespaces': '2024-01-01',
  'Microsoft.ServiceBus/namespaces/queues': '2024-01-01',
  'Microsoft.EventHub/namespaces': '2024-01-01',
  'Microsoft.EventHub/namespaces/eventhubs': '2024-01-01',
  'Microsoft.EventHub/namespaces/eventhubs/consumergroups': '2024-01-01',
  'Microsoft.Communication/emailServices': '2023-04-01',
  'Microsoft.Communication/emailServices/domains': '2023-04-01',
  'Microsoft.Communication/communicationServices': '2023-04-01',
  'Microsoft.Web/serverfarms': '2024-04-01',
  'Microsoft.Web/sites': '2024-04-01',
  'Microsoft.Web/sites/basicPublishingCredentialsPolicies': '2024-04-01',
  'Microsoft.Authorization/roleAssignments': '2022-04-01',
} as const;
type Type = keyof typeof versions;

/** https://learn.microsoft.com/azure/role-based-access-control/built-in-roles */
export const roles = {
  'Storage Blob Data Owner': 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b',
  'Storage Table Data Contributor': '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3',
  'Azure Service Bus Data Owner': '090c5cfd-751d-490a-894a-3ce6f1109419',
  'Azure Event Hubs Data Receiver': 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde',
  'Azure Event Hubs Data Sender': '2b629674-e913-4c01-ae53-ef4638d8f975',
  'Communication and Email Service Owner': '09976791-48a7-449e-bb21-39d1a415f350',
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb',
} as const;

/** A resource of the template: how it is written down, and how others speak of it. */
interface Place {
  readonly type: Type;
  readonly names: readonly string[];
  readonly id: string;
}

const quoted = (text: string): string => (text.startsWith('variables(') ? text : `'${text}'`);
const place = (type: Type, ...names: string[]): Place => ({ type, names, id: `resourceId('${type}', ${names.map(quoted).join(', ')})` });
const nameOf = ({ names }: Place): string => (names.length === 1 ? `[${quoted(names[0]!)}]` : `[concat(${names.map(quoted).join(", '/', ")})]`);
/** As the scope of an assignment is written: the type's parts and the names by turns. */
function scopeOf({ type, names }: Place): string {
  const [provider = '', ...kinds] = type.split('/');
  return `[concat('${provider}', ${kinds.map((kind, nth) => `'/${kind}/', ${quoted(names[nth]!)}`).join(', ')})]`;
}
const named = (name: string): string => `variables('${name}')`;
const setting = (expression: string): string => `[${expression}]`;
const after = (...places: readonly Place[]): readonly string[] => places.map(({ id }) => `[${id}]`);
const here = { location: "[parameters('location')]" } as const;

function resource(at: Place, rest: Omit<Resource, 'type' | 'apiVersion' | 'name'>): Resource {
  const { dependsOn, properties, ...head } = rest;
  return { type: at.type, apiVersion: versions[at.type], name: nameOf(at), ...head, ...(dependsOn ? { dependsOn } : {}), ...(properties ? { properties } : {}) };
}

// ---------------------------------------------------------------- what there is

const workspace = place('Microsoft.OperationalInsights/workspaces', named('app'));
const insights = place('Microsoft.Insights/components', named('app'));
const hostAccount = place('Microsoft.Storage/storageAccounts', named('hostAccount'));
const hostBlobs = place('Microsoft.Storage/storageAccounts/blobServices', named('hostAccount'), 'default');
const packages = place('Microsoft.Storage/storageAccounts/blobServices/containers', named('hostAccount'), 'default', named('packages'));
const dataAccount = place('Microsoft.Storage/storageAccounts', named('dataAccount'));
const dataTables = place('Microsoft.Storage/storageAccounts/tableServices', named('dataAccount'), 'default');
const table = place('Microsoft.Storage/storageAccounts/tableServices/tables', named('dataAccount'), 'default', named('table'));
const bus = place('Microsoft.ServiceBus/namespaces', named('serviceBus'));
const hubs = place('Microsoft.EventHub/namespaces', named('eventHubs'));
const mail = place('Microsoft.Communication/emailServices', named('app'));
const domain = place('Microsoft.Communication/emailServices/domains', named('app'), 'AzureManagedDomain');
const communication = place('Microsoft.Communication/communicationServices', named('app'));
const plan = place('Microsoft.Web/serverfarms', named('app'));
const site = place('Microsoft.Web/sites', named('app'));

function watching(): Resource[] {
  return [
    resource(workspace, { ...here, properties: { sku: { name: 'PerGB2018' }, retentionInDays: 30 } }),
    resource(insights, {
      ...here, kind: 'web', dependsOn: after(workspace),
      properties: { Application_Type: 'web', WorkspaceResourceId: setting(workspace.id), DisableLocalAuth: true },
    }),
  ];
}

const account = { ...here, kind: 'StorageV2', sku: { name: 'Standard_LRS' } } as const;
const accountProperties = { allowSharedKeyAccess: false, allowBlobPublicAccess: false, supportsHttpsTrafficOnly: true, minimumTlsVersion: 'TLS1_2' } as const;

/** Two accounts: what the platform writes about its own work, and the orders. */
function storing(): Resource[] {
  return [
    resource(hostAccount, { ...account, properties: accountProperties }),
    resource(hostBlobs, { dependsOn: after(hostAccount) }),
    resource(packages, { dependsOn: after(hostBlobs), properties: { publicAccess: 'None' } }),
    resource(dataAccount, { ...account, properties: accountProperties }),
    resource(dataTables, { dependsOn: after(dataAccount) }),
    resource(table, { dependsOn: after(dataTables) }),
  ];
}

/** Kept until somebody takes it, however long that is; the longest time there is. */
const forEver = 'P10675199DT2H48M5.4775807S';
const queueAt = (name: string): Place => place('Microsoft.ServiceBus/namespaces/queues', named('serviceBus'), name);

function queueing(): Resource[] {
  const properties = {
    lockDuration: 'PT1M', maxDeliveryCount: 100, requiresDuplicateDetection: false, requiresSession: false, enablePartitioning: false,
    deadLetteringOnMessageExpiration: true, defaultMessageTimeToLive: forEver, maxSizeInMegabytes: 5_120,
  };
  return [
    resource(bus, { ...here, sku: { name: 'Standard', tier: 'Standard' }, properties: { disableLocalAuth: true, minimumTlsVersion: '1.2' } }),
    ...queues.map((name) => resource(queueAt(name), { dependsOn: after(bus), properties })),
  ];
}

const partitions = 4;
const retentionHours = 7 * 24;

function streaming(): Resource[] {
  const hubOf = (name: string): Place => place('Microsoft.EventHub/namespaces/eventhubs', named('eventHubs'), name);
  // Who polls, and who reads what a trigger has left out, is in $Default, which every hub has: the platform's own readers drive all others out of their group.
  const listeners = subscriptions.filter(({ kind, polled }) => kind === 'stream' && !polled).map(({ channel, service }) =>
    resource(place('Microsoft.EventHub/namespaces/eventhubs/consumergroups', named('eventHubs'), channel, service), { dependsOn: after(hubOf(channel)) }));
  return [
    resource(hubs, {
      ...here, sku: { name: 'Standard', tier: 'Standard', capacity: 1 },
      properties: { disableLocalAuth: true, minimumTlsVersion: '1.2', isAutoInflateEnabled: true, maximumThroughputUnits: 4 },
    }),
    ...streams.map((name) => resource(hubOf(name), {
      dependsOn: after(hubs), properties: { partitionCount: partitions, retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: retentionHours } },
    })),
    ...listeners,
  ];
}

/** Of the one kind of resource that is nowhere in particular; where letters are kept is a parameter. */
function mailing(): Resource[] {
  const dataLocation = "[parameters('mailDataLocation')]";
  return [
    resource(mail, { location: 'global', properties: { dataLocation } }),
    resource(domain, { location: 'global', dependsOn: after(mail), properties: { domainManagement: 'AzureManaged', userEngagementTracking: 'Disabled' } }),
    resource(communication, { location: 'global', dependsOn: after(domain), properties: { dataLocation, linkedDomains: [setting(domain.id)] } }),
  ];
}

// ---------------------------------------------------------------- the app

const referred = ({ id, type }: Place, path: string): string => `reference(${id}, '${versions[type]}').${path}`;

/** The app's settings. Addresses, and two secrets of the shop's own that come with the deployment; nothing that opens a service. */
function appSettings(): { readonly name: string; readonly value: string }[] {
  const namespaceOf = (name: string): string => `[concat(variables('${name}'), '.servicebus.windows.net')]`;
  const settings: Readonly<Record<string, string>> = {
    // The host itself.
    AzureWebJobsStorage__accountName: setting(named('hostAccount')),
    AzureWebJobsDisableHomepage: 'true',
    // An address that opens nothing: the component takes what is said by the app's identity alone.
    APPLICATIONINSIGHTS_CONNECTION_STRING: setting(referred(insights, 'ConnectionString')),
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD',
    // The exporter's own reports to its maker are not ours to send.
    APPLICATION_INSIGHTS_NO_STATSBEAT: 'true',
    // The triggers.
    [`${connections.serviceBus}__fullyQualifiedNamespace`]: namespaceOf('serviceBus'),
    [`${connections.eventHubs}__fullyQualifiedNamespace`]: namespaceOf('eventHubs'),
    // The shop.
    ADAPTERS: 'azure',
    AZURE_SERVICE_BUS: namespaceOf('serviceBus'),
    AZURE_EVENT_HUBS: namespaceOf('eventHubs'),
    AZURE_TABLES: setting(`concat('https://', ${named('dataAccount')}, '.table.', environment().suffixes.storage)`),
    AZURE_TABLE: setting(named('table')),
    AZURE_EMAIL: setting(`concat('https://', ${referred(communication, 'hostName')})`),
    AZURE_EMAIL_FROM: setting(`concat('DoNotReply@', ${referred(domain, 'fromSenderDomain')})`),
    SHOP_NAME: "[parameters('shopName')]",
    SHOP_URL: "[parameters('shopUrl')]",
    ADMIN_TOKEN: "[parameters('adminToken')]",
    DEMO_CARRIER_SECRET: "[parameters('demoCarrierSecret')]",
    SAMPLE_CATALOGUE: "[parameters('sampleCatalogue')]",
  };
  return Object.entries(settings).map(([name, value]) => ({ name, value }));
}

function running(): Resource[] {
  const container = `concat(${referred(hostAccount, 'primaryEndpoints.blob')}, ${named('packages')})`;
  const policy = (name: string): Resource =>
    resource(place('Microsoft.Web/sites/basicPublishingCredentialsPolicies', named('app'), name), { dependsOn: after(site), properties: { allow: false } });
  return [
    resource(plan, { ...here, kind: 'functionapp', sku: { name: 'FC1', tier: 'FlexConsumption' }, properties: { reserved: true } }),
    resource(site, {
      ...here, kind: 'functionapp,linux', identity: { type: 'SystemAssigned' }, dependsOn: after(plan, packages, table, insights, domain, communication),
      properties: {
        serverFarmId: setting(plan.id),
        httpsOnly: true,
        clientAffinityEnabled: false,
        functionAppConfig: {
          deployment: { storage: { type: 'blobContainer', value: setting(container), authentication: { type: 'SystemAssignedIdentity' } } },
          runtime: { name: 'node', version: '22' },
          scaleAndConcurrency: { maximumInstanceCount: "[parameters('maximumInstanceCount')]", instanceMemoryMB: "[parameters('instanceMemoryMB')]" },
        },
        siteConfig: { minTlsVersion: '1.2', scmMinTlsVersion: '1.2', http20Enabled: true, ftpsState: 'Disabled', appSettings: appSettings() },
      },
    }),
    policy('ftp'),
    policy('scm'),
  ];
}

/** What the app's identity may do, resource by resource. */
function allowing(): Resource[] {
  const may = (role: keyof typeof roles, on: Place): Resource => ({
    type: 'Microsoft.Authorization/roleAssignments',
    apiVersion: versions['Microsoft.Authorization/roleAssignments'],
    name: `[guid(${on.id}, ${site.id}, '${roles[role]}')]`,
    scope: scopeOf(on),
    dependsOn: after(on, site),
    properties: {
      roleDefinitionId: `[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '${roles[role]}')]`,
      principalId: `[reference(${site.id}, '${versions[site.type]}', 'Full').identity.principalId]`,
      principalType: 'ServicePrincipal',
    },
  });
  return [
    may('Storage Blob Data Owner', hostAccount),
    may('Storage Table Data Contributor', dataAccount),
    ...queues.map((name) => may('Azure Service Bus Data Owner', queueAt(name))),
    may('Azure Event Hubs Data Receiver', hubs),
    may('Azure Event Hubs Data Sender', hubs),
    may('Communication and Email Service Owner', communication),
    may('Monitoring Metrics Publisher', insights),
  ];
}

export function template(): Template {
  const text = (description: string, rest: object = {}): object => ({ type: 'string', ...rest, metadata: { description } });
  return {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    parameters: {
      name: text('How the app is called, with a hash behind it; the first part of its address', { minLength: 3, maxLength: 11, defaultValue: 'anyport' }),
      location: text('Where it all is', { defaultValue: '[resourceGroup().location]' }),
      adminToken: { type: 'securestring', minLength: 16, metadata: { description: 'Bearer token of the admin API' } },
      demoCarrierSecret: { type: 'securestring', minLength: 16, defaultValue: '[newGuid()]', metadata: { description: 'Signs the notices of the demo carrier' } },
      shopName: text('Name in pages and letters', { defaultValue: 'Anyport' }),
      shopUrl: text('Where customers reach the shop, if not under the name that the platform gives', { defaultValue: '' }),
      sampleCatalogue: text('Whether an empty shop starts with sample products', { allowedValues: ['on', 'off'], defaultValue: 'off' }),
      mailDataLocation: text('Where letters are kept', { defaultValue: 'Europe' }),
      maximumInstanceCount: { type: 'int', minValue: 1, maxValue: 1_000, defaultValue: 40, metadata: { description: 'Instances at the most, of each group of functions' } },
      instanceMemoryMB: { type: 'int', allowedValues: [512, 2_048, 4_096], defaultValue: 2_048, metadata: { description: 'Memory of an instance' } },
    },
    variables: {
      suffix: '[uniqueString(resourceGroup().id)]',
      app: "[toLower(concat(parameters('name'), '-', variables('suffix')))]",
      hostAccount: "[take(concat('host', variables('suffix'), uniqueString('host', resourceGroup().id)), 24)]",
      dataAccount: "[take(concat('data', variables('suffix'), uniqueString('data', resourceGroup().id)), 24)]",
      serviceBus: "[concat(variables('app'), '-bus')]",
      eventHubs: "[concat(variables('app'), '-hubs')]",
      packages: 'packages',
      table: 'anyport',
    },
    resources: [...watching(), ...storing(), ...queueing(), ...streaming(), ...mailing(), ...running(), ...allowing()],
    outputs: {
      app: { type: 'string', value: setting(named('app')) },
      url: { type: 'string', value: `[concat('https://', ${referred(site, 'defaultHostName')})]` },
      packages: { type: 'string', value: `[${`concat(${referred(hostAccount, 'primaryEndpoints.blob')}, ${named('packages')})`}]` },
    },
  };
}
