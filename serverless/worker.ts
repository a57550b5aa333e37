import { randomUUID } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { join, sep } from 'node:path';
import { wireOf, type Payload, type TypedData } from './payload.ts';

/**
 * A STAND-IN FOR THE WORKER of Azure Functions: starts a package as the platform's own worker does. It gives `@azure/functions-core` to whoever requires it, loads the `main`
 * of the package's `package.json`, takes down what is registered, and drives each invocation through the programming model that the package brings along: arguments are made
 * of what comes over the wire, the function is called, and its result becomes what goes over the wire.
 *
 * It is for one package a process, for a package is loaded once, and so is the shop in it.
 */
export interface Registered {
  readonly name: string;
  readonly bindings: Readonly<Record<string, Binding>>;
  readonly retryOptions?: Readonly<Record<string, unknown>>;
}
export interface Binding {
  readonly type: string;
  readonly direction: string;
  readonly [setting: string]: unknown;
}

/** What became of an invocation: it returned, with an answer if it is one of HTTP; or it threw, as the platform gets to see it. */
export type Outcome = { readonly returned: true; readonly response?: Response } | { readonly returned: false; readonly error: string };
export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Worker {
  /** In the order of their registration. */
  readonly functions: readonly Registered[];
  invoke(name: string, payload: Payload): Promise<Outcome>;
  /** The files of the package that the process has loaded so far. */
  loaded(): readonly string[];
}

type Handler = (...inputs: unknown[]) => unknown;
/** What of `@azure/functions` 4 the worker uses (https://github.com/Azure/azure-functions-nodejs-worker). */
interface Model {
  readonly name: string;
  getCapabilities(capabilities: object): Promise<object>;
  getInvocationModel(context: object): {
    getArguments(): Promise<{ readonly context: unknown; readonly inputs: unknown[] }>;
    invokeFunction(context: unknown, inputs: unknown[], handler: Handler): Promise<unknown>;
    getResponse(context: unknown, result: unknown): Promise<{ readonly returnValue?: TypedData | null }>;
  };
}

/** Throws what the package throws when it is loaded. `log` is told what functions say through their context. */
export async function startWorker(folder: string, log: (line: string) => void): Promise<Worker> {
  const registered = new Map<string, { readonly metadata: Registered; readonly handler: Handler }>();
  let model: Model | undefined;
  const core = {
    version: '4.0.0', hostVersion: '4.0.0',
    registerFunction(metadata: Registered, handler: Handler) {
      if (registered.has(metadata.name)) throw new Error(`a function with the name ${metadata.name} is registered already`);
      registered.set(metadata.name, { metadata, handler });
    },
    setProgrammingModel: (given: Model) => void (model = given),
    getProgrammingModel: () => model,
    registerHook: () => ({ dispose: () => undefined }),
    log: (_level: string, _category: string, line: string) => log(line),
    Disposable: class {},
  };
  provide('@azure/functions-core', core);
  const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { readonly main: string };
  const load = createRequire(join(folder, 'package.json'));
  load(join(folder, main));
  // A package that throws before it has loaded the model looks to the platform like one without functions. Here nothing passes for success.
  if (!model) throw new Error(`${main} has set no programming model`);
  const { getInvocationModel } = bound(model);
  await model.getCapabilities({});

  async function invoke(name: string, payload: Payload): Promise<Outcome> {
    const found = registered.get(name);
    if (!found) throw new Error(`there is no function ${name}`);
    const { metadata, handler } = found;
    const invocationId = randomUUID();
    const request = { invocationId, functionId: name, ...wireOf(metadata, payload), traceContext: {}, retryContext: null };
    const invocation = getInvocationModel({ invocationId, request, metadata, state: undefined, log: core.log });
    try {
      const { context, inputs } = await invocation.getArguments();
      const result = await invocation.invokeFunction(context, inputs, handler);
      const { returnValue } = await invocation.getResponse(context, result);
      return { returned: true, ...(returnValue?.http ? { response: responseOf(returnValue.http) } : {}) };
    } catch (error) {
      return { returned: false, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
    }
  }

  const inside = join(realpathSync(folder), sep);
  const loaded = (): string[] => Object.keys(load.cache).filter((path) => path.startsWith(inside)).map((path) => path.slice(inside.length).replaceAll(sep, '/'));
  return { functions: [...registered.values()].map(({ metadata }) => metadata), invoke, loaded };
}

const bound = (model: Model): Pick<Model, 'getInvocationModel'> => ({ getInvocationModel: (context) => model.getInvocationModel(context) });

/** Gives a module to everybody who requires it by this name, as the worker does. */
function provide(name: string, exports: unknown): void {
  const loader = Module as unknown as { prototype: { require(this: unknown, id: string): unknown } };
  const { require } = loader.prototype;
  loader.prototype.require = function (id) {
    return id === name ? exports : require.call(this, id);
  };
}

function responseOf({ statusCode, headers = {}, body }: NonNullable<TypedData['http']>): Response {
  return { status: Number(statusCode), headers, body: body?.bytes ? Buffer.from(body.bytes).toString() : (body?.string ?? '') };
}
