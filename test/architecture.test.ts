import { expect } from 'chai';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { collections, doors, events, queues, services, speaking, streams, subscriptions } from '../core/flow.ts';

/** Who may import whom, and what the tables must be. Read from the text, so that `import type` counts as well. */

const root = fileURLToPath(new URL('..', import.meta.url));
const folders = ['ports', 'core', 'adapters', 'emulator', 'handlers', 'serverless', 'bench', 'test'];

interface Import {
  readonly file: string;
  /** A path from the root for our own files, the bare name otherwise. */
  readonly target: string;
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.name === 'node_modules') return [];
    return entry.isDirectory() ? filesBelow(path) : /\.m?ts$/.test(entry.name) ? [path] : [];
  });
}

const files = folders.flatMap(filesBelow);
const text = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const imports: Import[] = files.flatMap((file) =>
  [...text.get(file)!.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)'([^']+)'/gm)].map(([, name = '']) => ({
    file,
    target: name.startsWith('.') ? relative('.', normalize(join(dirname(file), name))) : name,
  })),
);

const isTypeOnly = ({ file, target }: Import): boolean => new RegExp(`import type [^;]*'${target}'`).test(text.get(file)!) && !text.get(file)!.includes(`import('${target}')`);
const isOurs = (target: string): boolean => folders.some((folder) => target.startsWith(`${folder}/`));
const broken = (wrong: (found: Import) => boolean): string[] => imports.filter(wrong).map(({ file, target }) => `${file} imports ${target}`);
const inside = (folder: string) => ({ file }: Import): boolean => file.startsWith(`${folder}/`);

describe('The house', () => {
  it('is read at all: hundreds of imports, in every folder', () => {
    expect(imports.length).to.be.greaterThan(200);
    for (const folder of folders) expect(imports.some(inside(folder)), folder).to.equal(true);
  });

  it('has ports that import nothing but each other', () => {
    expect(broken((i) => inside('ports')(i) && !i.target.startsWith('ports/'))).to.deep.equal([]);
  });

  it('has a core that imports ports, itself, zod and pure parts of node', () => {
    const allowed = /^(core|ports)\/|^zod(\/mini)?$|^node:(crypto|assert)$/;
    expect(broken((i) => inside('core')(i) && !allowed.test(i.target))).to.deep.equal([]);
  });

  it('has services that know of each other only the words', () => {
    const serviceOf = (path: string): string | undefined => [...services, 'operations', 'console'].find((name) => path.startsWith(`core/${name}/`));
    const wrong = broken(({ file, target }) => {
      const from = serviceOf(file);
      const to = serviceOf(target);
      // The auditor and the desk read everybody's books, and say nothing. The console reads nobody's: it asks the API.
      return file.startsWith('core/') && !/^core\/(audit\.ts|operations\/)/.test(file) && to !== undefined && from !== to && !target.endsWith('/events.ts');
    });
    expect(wrong).to.deep.equal([]);
  });

  it('has adapters that never import core or handlers', () => {
    expect(broken((i) => inside('adapters')(i) && isOurs(i.target) && !/^(adapters|ports)\//.test(i.target))).to.deep.equal([]);
  });

  it('has an emulator that knows the flow and nothing else of the shop, and one file of it that knows AMQP\'s library', () => {
    // What is made on the servers of AWS is what its adapters want to find there.
    const isTold = (i: Import) => i.file === 'emulator/aws.ts' && /^adapters\/aws\/(client|table)\.ts$/.test(i.target);
    expect(broken((i) => inside('emulator')(i) && isOurs(i.target) && !/^(emulator|ports)\/|^core\/flow\.ts$/.test(i.target) && !isTold(i))).to.deep.equal([]);
    expect(broken((i) => inside('emulator')(i) && i.target === 'core/flow.ts' && i.file !== 'emulator/config.ts')).to.deep.equal([]);
    expect(broken((i) => i.target.startsWith('rhea') && !/^(emulator\/amqp\.ts|test\/emulator\/.*)$/.test(i.file))).to.deep.equal([]);
  });

  it('loads each SDK of a cloud in the one file that uses it', () => {
    const users = (name: string): string[] => [...new Set(imports.filter((i) => i.target.startsWith(name) && !/^(test|bench)\//.test(i.file) && !isTypeOnly(i)).map(({ file }) => file))];
    expect(users('@azure/service-bus')).to.deep.equal(['adapters/azure/queue.ts']);
    expect(users('@azure/event-hubs')).to.deep.equal(['adapters/azure/stream.ts']);
    expect(users('@azure/data-tables')).to.deep.equal(['adapters/azure/store.ts']);
    expect(users('@azure/communication-email')).to.deep.equal(['adapters/azure/mailer.ts']);
  });

  it('keeps OpenTelemetry in its adapter, which is loaded by those alone who want to be told', () => {
    expect(broken((i) => /^@opentelemetry\/|^@azure\/monitor-/.test(i.target) && !/^(adapters\/otel\/|test\/)/.test(i.file))).to.deep.equal([]);
    expect(broken((i) => i.target.startsWith('adapters/otel/') && !/^(adapters\/otel\/|test\/|handlers\/container\.ts$)/.test(i.file))).to.deep.equal([]);
    expect(text.get('handlers/container.ts')).to.match(/import\('\.\.\/adapters\/otel\/index\.ts'\)/).and.not.to.match(/^(import|export) (?!type )[^;]* from '\.\.\/adapters\/otel\//m);
    expect(text.get('adapters/otel/early.ts'), 'for processes that have not loaded it yet').not.to.match(/^(import|export) (?!type )[^;]* from '(@|\.\/)/m);
  });

  it('keeps inversify in the composition root and middy in the handlers\' host', () => {
    expect(broken((i) => i.target === 'inversify' && i.file !== 'handlers/container.ts')).to.deep.equal([]);
    expect(broken((i) => i.target.startsWith('@middy/') && i.file !== 'handlers/host.ts')).to.deep.equal([]);
  });

  it('has one file that speaks to identity providers, which is loaded when somebody goes to one', () => {
    expect(broken((i) => i.target === 'openid-client' && i.file !== 'adapters/oidc/index.ts')).to.deep.equal([]);
    expect(broken((i) => i.target.startsWith('adapters/oidc/') && !/^(test\/|handlers\/console\.ts$)/.test(i.file))).to.deep.equal([]);
    expect(text.get('handlers/console.ts')).to.match(/import\('\.\.\/adapters\/oidc\/index\.ts'\)/).and.not.to.match(/^(import|export) (?!type )[^;]* from '\.\.\/adapters\/oidc\//m);
  });

  it('has a console that touches nothing but its own rows: of the store, of what is said, and of other services', () => {
    const reaching = files.filter((file) => file.startsWith('core/console/') && /kernel\.(published|queue|stream|mailer|carrier|relay)\b/.test(text.get(file)!));
    expect(reaching).to.deep.equal([]);
    const storing = files.filter((file) => file.startsWith('core/console/') && /\bkernel\.store\b|\{[^{}]*\bstore\b[^{}]*\}: /.test(text.get(file)!));
    expect(storing).to.deep.equal(['core/console/porch.ts', 'core/console/sessions.ts']);
  });

  it('has packaging of which the shop knows nothing', () => {
    expect(broken((i) => !inside('serverless')(i) && !/^(test|bench)\//.test(i.file) && (i.target.startsWith('serverless/') || /^(esbuild|fflate|osls)$/.test(i.target)))).to.deep.equal([]);
    // Payloads are written when somebody generates, and are no part of a package: of the contracts' samples, in the shapes of the ports.
    const isWriting = ({ file, target }: Import): boolean => /^serverless\/(aws\/)?golden\.ts$/.test(file) && /^(ports\/|test\/contracts\/samples\.ts$)/.test(target);
    // The table of the stack is the one that its adapter wants to find.
    const isTable = ({ file, target }: Import): boolean => file === 'serverless/lambda.ts' && /^(adapters\/aws\/table|ports\/index)\.ts$/.test(target);
    expect(broken((i) => inside('serverless')(i) && isOurs(i.target) && !/^serverless\/|^core\/flow\.ts$|^handlers\/functions\.ts$/.test(i.target) && !isWriting(i) && !isTable(i))).to.deep.equal([]);
    expect(broken((i) => /^serverless\/(aws\/)?golden\.ts$/.test(i.target) && !/^(test\/|serverless\/(generate|aws\/golden)\.ts$)/.test(i.file))).to.deep.equal([]);
    expect(broken((i) => i.target === '@azure/functions' && !/^(handlers\/azure\.ts|bench\/cold\/bare\.ts)$/.test(i.file))).to.deep.equal([]);
  });

  it('reads the environment where a process begins', () => {
    const readers = files.filter((file) => !/^(test|bench)\//.test(file) && /process\.env/.test(text.get(file)!));
    // The one in the emulator hands it on to a process that it starts; an identity is where the platform says, to the SDKs as to us.
    expect(readers).to.deep.equal(['adapters/azure/identity.ts', 'emulator/aws.ts', 'emulator/azurite.ts', 'handlers/aws.ts', 'handlers/azure.ts', 'handlers/local.ts', 'handlers/ops.ts', 'serverless/commands.ts', 'serverless/deploy.ts', 'serverless/pack.ts']);
  });

  it('has a core without a clock, a die or an environment of its own', () => {
    const forbidden = /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bprocess\.|\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b|\bperformance\b/;
    const code = (file: string): string => text.get(file)!.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    // The two script.ts are what runs in the browser.
    expect(files.filter((file) => file.startsWith('core/') && !/^core\/(website|console)\/script\.ts$/.test(file) && forbidden.test(code(file)))).to.deep.equal([]);
  });
});

describe('The flow', () => {
  it('has every event of the owner under its own name, on its own road, to its own listeners', () => {
    const roads = (name: keyof typeof events): string[] =>
      (events[name].travels as readonly { kind: string; to: readonly string[] }[]).flatMap(({ kind, to }) => to.map((service) => `${kind} ${service}`));
    expect(roads('OrderPlaced')).to.include.members(['queue inventory', 'stream notification']);
    expect(roads('InventoryReserved')).to.include.members(['stream product', 'stream order', 'stream shipping']);
    expect(roads('Backordered')).to.include.members(['stream order', 'stream notification']);
    expect(roads('ProductInfoUpdated')).to.include.members(['stream website']);
    expect(roads('OrderFulfillment')).to.include.members(['stream order', 'stream notification']);
    expect(roads('OrderDelivered')).to.include.members(['stream order', 'stream notification']);
    expect(Object.entries(events).map(([name, { from }]) => `${name} ${from}`)).to.include.members([
      'OrderPlaced order', 'InventoryReserved inventory', 'Backordered inventory', 'ProductInfoUpdated product', 'OrderFulfillment shipping', 'OrderDelivered shipping',
    ]);
  });

  it('has channel names that are unique across queues and streams and legal on every cloud', () => {
    const names = [...queues, ...streams];
    expect(new Set(names).size).to.equal(names.length);
    for (const name of names) expect(name).to.match(/^[a-z][a-z0-9-]{2,48}$/); // SQS: 80 of [A-Za-z0-9_-]; Event Hubs and Service Bus: 50 and more, from a letter
  });

  it('polls for the website and pushes to everybody else', () => {
    expect(subscriptions.filter(({ polled }) => polled).map(({ service, channel }) => `${service} ${channel}`)).to.deep.equal(['website products']);
  });

  it('lets no queue have two receivers', () => {
    for (const queue of queues) expect(subscriptions.filter(({ channel }) => channel === queue)).to.have.length(1);
  });

  it('has doors that nobody can confuse', () => {
    const seen = Object.values(doors).map(({ method, path }) => `${method} ${path}`);
    expect(new Set(seen).size).to.equal(seen.length);
  });

  it('sweeps the outbox of every collection whose service says something', () => {
    const said = new Set(Object.values(events).map(({ from }) => from));
    expect(speaking.map(({ name }) => name)).to.include.members([collections.orders.name, collections.invorder.name, collections.stock.name, collections.products.name]);
    expect([...said].sort()).to.deep.equal(['inventory', 'order', 'product', 'shipping']);
  });
});
