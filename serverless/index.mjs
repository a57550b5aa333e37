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

export default class Azure {
  constructor(serverless, options) {
    serverless.setProvider('azure', this);
    const { configSchemaHandler: schemas, classes, service } = serverless;
    schemas.defineProvider('azure', { function: { properties: { handler: text }, required: ['handler'] } });
    for (const [kind, schema] of Object.entries(events)) schemas.defineFunctionEvent('azure', kind, schema);
    this.commands = { invoke: { commands: { local: invokeLocal } } };

    const run = (name) => async () => {
      await import('tsx/esm');
      const commands = await import('./commands.ts');
      try {
        await commands[name](serverless, options);
      } catch (error) {
        throw error instanceof commands.Complaint ? new classes.Error(error.message, 'ANYPORT') : error;
      }
    };
    this.hooks = {
      // osls would pack the whole folder by itself.
      'before:package:createDeploymentArtifacts': () => {
        for (const each of Object.values(service.functions)) each.package = { disable: true };
      },
      'package:finalize': run('pack'),
      'invoke:local:invoke': run('invokeLocal'),
    };
  }
}
