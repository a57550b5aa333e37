/**
 * THE PROVIDER `azure` for osls 4 (`sls`): for the programming model v4 of Azure Functions, on Flex Consumption. This is its face towards the command line, which reads plug-ins
 * as JavaScript and all at once; what the commands do stands in commands.ts, and is loaded when one of them runs.
 */
const text = { type: 'string' };
const settings = (properties, required) => ({ type: 'object', properties, required, additionalProperties: false });
const methods = { type: 'array', items: { enum: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH'] }, minItems: 1 };
const cardinality = { enum: ['one', 'many'] };

/** The settings of each event, under the names of `function.json`. */
const events = {
  http: settings({ methods, route: text, authLevel: { enum: ['anonymous', 'function', 'admin'] } }, ['methods', 'route']),
  serviceBus: settings({ queueName: text, connection: text, cardinality }, ['queueName', 'connection']),
  eventHub: settings({ eventHubName: text, consumerGroup: text, connection: text, cardinality }, ['eventHubName', 'consumerGroup', 'connection']),
  timer: settings({ schedule: text }, ['schedule']),
};

const invokeLocal = {
  usage: 'Run a function on this machine, through the package',
  lifecycleEvents: ['invoke'],
  options: {
    function: { usage: 'Name of the function', shortcut: 'f', required: true, type: 'string' },
    path: { usage: 'File with the payload (JSON)', shortcut: 'p', type: 'string' },
    data: { usage: 'The payload itself (JSON)', shortcut: 'd', type: 'string' },
  },
};

const dryRun = { 'dry-run': { usage: 'Say what would be done, and do nothing', type: 'boolean' } };
const where = {
  ...dryRun,
  subscription: { usage: 'Id of the subscription; else AZURE_SUBSCRIPTION_ID', type: 'string' },
  'resource-group': { usage: 'Name of the resource group; else provider.resourceGroup', type: 'string' },
};
const deploy = {
  usage: 'Make the infrastructure and publish the package',
  lifecycleEvents: ['deploy', 'finalize'],
  options: { ...where, region: { usage: 'Where it all is; else provider.region', type: 'string' } },
};
const remove = {
  usage: 'Delete the resource group that deploy has made, with all that is in it',
  lifecycleEvents: ['remove'],
  options: { ...where, confirm: { usage: 'Name of the resource group: yes, this one', type: 'string' }, force: { usage: 'Ask for no confirmation', type: 'boolean' } },
};
const info = { usage: 'Say what is deployed', lifecycleEvents: ['info'], options: where };

/** Where it is deployed, and what of the template's parameters is given. What is secret comes from the environment. */
const provider = {
  properties: {
    region: text,
    resourceGroup: text,
    parameters: {
      type: 'object',
      properties: {
        name: text, shopName: text, shopUrl: text, sampleCatalogue: { enum: ['on', 'off'] }, mailDataLocation: text,
        maximumInstanceCount: { type: 'integer', minimum: 1, maximum: 1000 }, instanceMemoryMB: { enum: [512, 2048, 4096] },
      },
      additionalProperties: false,
    },
  },
};

export default class Azure {
  constructor(serverless, options) {
    serverless.setProvider('azure', this);
    const { configSchemaHandler: schemas, classes, service } = serverless;
    schemas.defineProvider('azure', { provider, function: { properties: { handler: text }, required: ['handler'] } });
    for (const [kind, schema] of Object.entries(events)) schemas.defineFunctionEvent('azure', kind, schema);
    this.commands = { invoke: { commands: { local: invokeLocal } }, deploy, remove, info };

    const run = (name, file = './commands.ts') => async () => {
      await import('tsx/esm');
      const { Complaint } = await import('./complaint.ts');
      const commands = await import(file);
      try {
        await commands[name](serverless, options);
      } catch (error) {
        throw error instanceof Complaint ? new classes.Error(error.message, 'ANYPORT') : error;
      }
    };
    const isDeploy = () => serverless.processedInput.commands.join(' ') === 'deploy';
    this.hooks = {
      // osls would pack the whole folder by itself.
      'before:package:createDeploymentArtifacts': () => {
        for (const each of Object.values(service.functions)) each.package = { disable: true };
      },
      'package:finalize': run('pack'),
      'invoke:local:invoke': run('invokeLocal'),
      // Before the package is made.
      initialize: () => (isDeploy() ? run('checkDeploy', './deploy.ts')() : undefined),
      'deploy:deploy': run('deploy', './deploy.ts'),
      'remove:remove': run('remove', './deploy.ts'),
      'info:info': run('info', './deploy.ts'),
    };
  }
}
