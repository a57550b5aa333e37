import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { connections, functions, schedule, type FunctionRow } from '../handlers/functions.ts';

/** `serverless.yml`, made of the flow: `npm run generate` writes it, its twin for AWS (lambda.ts), and payloads; a test says when it is no longer what the flow says. */
export const file = fileURLToPath(new URL('../serverless.yml', import.meta.url));

/** What a function is called by, under the keys and names that people know from `function.json`. */
export function eventOf(row: FunctionRow): Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>> {
  switch (row.kind) {
    case 'http':
      return { http: { methods: row.methods, route: row.route, authLevel: 'anonymous' } };
    case 'queue':
      return { serviceBus: { queueName: row.queue, connection: connections.serviceBus, cardinality: 'one' } };
    case 'stream':
      return { eventHub: { eventHubName: row.stream, consumerGroup: row.service, connection: connections.eventHubs, cardinality: 'many' } };
    default:
      return { timer: { schedule: schedule(row.everySeconds) } };
  }
}

const head = `# Azure Functions, for \`npx sls package\`, \`npx sls invoke local -f NAME\` and \`npx sls deploy\`; docs/azure.md tells how.
# Made of core/flow.ts by \`npm run generate\`, which leaves \`provider\` as it is. Whoever wants another function changes the flow.

service: anyport
configValidationMode: error
plugins: ['./serverless/index.mjs']

`;
/** Until somebody writes down something else. */
const provider = `provider:
  name: azure
  region: westeurope
  resourceGroup: anyport
`;

/** JSON is YAML: each event is one line of it. */
export function serverlessYml(): string {
  const line = (row: FunctionRow): string => {
    const [[kind, settings] = ['', {}]] = Object.entries(eventOf(row));
    const said = Object.entries(settings).map(([key, value]) => `${key}: ${typeof value === 'string' ? quoted(value) : `[${value.join(', ')}]`}`);
    return `  ${row.name}:\n    handler: ${handlerOf(row.name)}\n    events: [{ ${kind}: { ${said.join(', ')} } }]\n`;
  };
  return `${head}${providerIn()}\nfunctions:\n${functions.map(line).join('')}`;
}

/** Where it is deployed is not the flow's matter, but that of whoever deploys it: it is kept as it stands in the file. */
function providerIn(): string {
  const found = existsSync(file) ? /^provider:\n(?: {2}.*\n)+/m.exec(readFileSync(file, 'utf8')) : null;
  return found?.[0] ?? provider;
}

export const handlerOf = (name: string): string => `handlers/azure.${name}`;
const quoted = (text: string): string => (/^[A-Za-z][\w/-]*$/.test(text) ? text : `'${text}'`);

/** Whether the file is what the flow says. */
export function isCurrent(): boolean {
  return readFileSync(file, 'utf8') === serverlessYml();
}

if (import.meta.url === `file://${process.argv[1]}`) {
  writeFileSync(file, serverlessYml());
  const { writeGolden } = await import('./golden.ts');
  for (const name of writeGolden()) console.log(`written: serverless/payloads/${name}`);
  const lambda = await import('./lambda.ts');
  writeFileSync(lambda.file, lambda.serverlessAwsYml());
  const aws = await import('./aws/golden.ts');
  for (const name of aws.writeGolden()) console.log(`written: serverless/payloads/${name}`);
}
