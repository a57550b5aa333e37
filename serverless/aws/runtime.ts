import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Files } from '../bundle.ts';

/**
 * A STAND-IN FOR LAMBDA'S RUNTIME API: unpacks a package, starts it in a process of its own as Lambda does (bootstrap.cjs), and hands it events over HTTP, one at a time
 * (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). On the memory family unless ADAPTERS says otherwise, with a token that the payloads in serverless/payloads/aws know.
 */
export interface Lambda {
  /** Rejects with one line when the process ends, or when nothing comes within `invokeSecondsMax`. */
  invoke(name: string, event: unknown): Promise<Outcome>;
  close(): Promise<void>;
}
export type Outcome = { readonly returned: true; readonly value: unknown } | { readonly returned: false; readonly error: string };

export interface LambdaOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `index.placeOrder`; all functions in one process, unless told. */
  readonly handler?: string;
  /** Another Node than the one that runs. */
  readonly node?: string;
}

export const invokeSecondsMax = 30;
/** For this machine alone. */
export const local = { ADAPTERS: 'memory', ADMIN_TOKEN: 'for-this-machine-only', EASYPOST_WEBHOOK_SECRET: 'for-this-machine-only', SHOP_URL: 'http://localhost:3000', SAMPLE_CATALOGUE: 'off' };

export async function openLambda(files: Files, { env, handler = 'index.*', node = process.execPath }: LambdaOptions): Promise<Lambda> {
  const folder = await mkdtemp(join(tmpdir(), 'anyport-lambda-'));
  try {
    for (const [path, bytes] of files) {
      await mkdir(join(folder, dirname(path)), { recursive: true });
      await writeFile(join(folder, path), bytes);
    }
    return await start(folder, { env, handler, node });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Asked {
  readonly id: string;
  readonly name: string;
  readonly event: unknown;
  readonly answered: (outcome: Outcome) => void;
}

async function start(folder: string, { env, handler, node }: Required<LambdaOptions>): Promise<Lambda> {
  const waiting: Asked[] = [];
  const underWay = new Map<string, Asked>();
  let idle: ServerResponse | undefined;
  let began: (broken?: string) => void = () => undefined;
  const begun = new Promise<string | undefined>((resolve) => (began = resolve));

  function handOut(): void {
    const asked = idle && waiting.shift();
    if (!asked || !idle) return;
    underWay.set(asked.id, asked);
    const arn = `arn:aws:lambda:eu-central-1:123456789012:function:${asked.name}`;
    idle.writeHead(200, { 'content-type': 'application/json', 'lambda-runtime-aws-request-id': asked.id, 'lambda-runtime-invoked-function-arn': arn, 'lambda-runtime-deadline-ms': String(Date.now() + invokeSecondsMax * 1_000) });
    idle.end(JSON.stringify(asked.event));
    idle = undefined;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, id = '', what = ''] = /^\/2018-06-01\/runtime\/invocation\/([^/]+)\/(response|error)$/.exec(request.url ?? '') ?? [];
    if (request.url === '/2018-06-01/runtime/invocation/next') {
      idle = response;
      began();
      return handOut();
    }
    const text = await textOf(request);
    response.writeHead(202).end('{}');
    if (request.url === '/2018-06-01/runtime/init/error') return began(errorIn(text));
    const asked = underWay.get(id);
    underWay.delete(id);
    asked?.answered(what === 'response' ? { returned: true, value: JSON.parse(text) as unknown } : { returned: false, error: errorIn(text) });
  }

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const child = spawn(node, [fileURLToPath(new URL('bootstrap.cjs', import.meta.url))], {
    cwd: folder, stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...local, ...env, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(server.address() as AddressInfo).port}`, LAMBDA_TASK_ROOT: folder, _HANDLER: handler },
  });
  const ended = once(child, 'exit').then(() => 'the process of the functions has ended');

  async function close(): Promise<void> {
    child.kill('SIGKILL');
    await ended;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  }

  const broken = await Promise.race([begun, ended]);
  if (broken !== undefined) {
    await close();
    throw new Error(`the package cannot be started: ${broken}`);
  }
  return {
    async invoke(name, event) {
      const outcome = new Promise<Outcome>((answered) => waiting.push({ id: randomUUID(), name, event, answered }));
      handOut();
      return inTime(Promise.race([outcome, ended.then((why) => Promise.reject(new Error(why)))]), `${name} has not come to its end in ${invokeSecondsMax} s`);
    },
    close,
  };
}

const errorIn = (text: string): string => {
  const { errorType, errorMessage } = JSON.parse(text) as { readonly errorType: string; readonly errorMessage: string };
  return `${errorType}: ${errorMessage}`;
};

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

async function inTime<T>(work: Promise<T>, complaint: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(complaint)), invokeSecondsMax * 1_000);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
