/**
 * EXPRESSIONS OF A TEMPLATE, worked out without a cloud, as the manager of resources would (https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions).
 * Only what is known here is known at all: another function, a parameter or variable that is not there, a resource that the template does not have, or a property that
 * the type does not answer is an error.
 */
export interface Resource {
  readonly type: string;
  readonly apiVersion: string;
  readonly name: string;
  readonly scope?: string;
  readonly dependsOn?: readonly string[];
  readonly [other: string]: unknown;
}
export interface Parsed {
  readonly parameters: Readonly<Record<string, { readonly type: string; readonly defaultValue?: unknown }>>;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly resources: readonly Resource[];
  readonly outputs: Readonly<Record<string, { readonly type: string; readonly value: unknown }>>;
}

type Node =
  | { readonly is: 'value'; readonly value: string | number }
  | { readonly is: 'call'; readonly name: string; readonly args: readonly Node[] }
  | { readonly is: 'member'; readonly of: Node; readonly name: string };

/** The text between the brackets. */
export function parse(text: string): Node {
  let at = 0;
  const wrong = (wanted: string): Error => new Error(`${wanted} wanted at ${at} of ${text}`);
  const skip = (): void => void (at += /^\s*/.exec(text.slice(at))![0].length);
  const take = (pattern: RegExp): string | undefined => {
    skip();
    const found = pattern.exec(text.slice(at))?.[0];
    at += found?.length ?? 0;
    return found;
  };
  function one(): Node {
    const literal = take(/^'(?:[^']|'')*'/);
    if (literal !== undefined) return { is: 'value', value: literal.slice(1, -1).replaceAll("''", "'") };
    const number = take(/^-?\d+/);
    if (number !== undefined) return { is: 'value', value: Number(number) };
    const name = take(/^[A-Za-z]\w*/);
    if (name === undefined || take(/^\(/) === undefined) throw wrong('a call, a text or a number');
    const args: Node[] = [];
    if (take(/^\)/) === undefined) {
      do args.push(one());
      while (take(/^,/) !== undefined);
      if (take(/^\)/) === undefined) throw wrong('a closing parenthesis');
    }
    let node: Node = { is: 'call', name, args };
    for (let member = take(/^\.[A-Za-z]\w*/); member !== undefined; member = take(/^\.[A-Za-z]\w*/)) node = { is: 'member', of: node, name: member.slice(1) };
    return node;
  }
  const node = one();
  skip();
  if (at !== text.length) throw wrong('the end');
  return node;
}

const group = { id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop', name: 'shop', location: 'westeurope' };
const guidPattern = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** What `reference` answers, of the properties that are published for the type in this version. */
const answers: Readonly<Record<string, object>> = {
  'Microsoft.Insights/components': { ConnectionString: 'InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/' },
  'Microsoft.Storage/storageAccounts': { primaryEndpoints: { blob: 'https://host.blob.core.windows.net/' } },
  'Microsoft.Communication/communicationServices': { hostName: 'anyport.europe.communication.azure.com' },
  'Microsoft.Communication/emailServices/domains': { fromSenderDomain: '0.azurecomm.net', mailFromSenderDomain: '0.azurecomm.net' },
  'Microsoft.Web/sites': { defaultHostName: 'anyport.azurewebsites.net' },
};

export interface Evaluation {
  /** The value with every expression in it worked out. */
  of(value: unknown): unknown;
  /** Ids of resources that were referred to at run time, in the course of the latest `of`. */
  readonly referred: ReadonlySet<string>;
}

export function evaluate({ parameters, variables, resources }: Parsed, given: Readonly<Record<string, unknown>>): Evaluation {
  const referred = new Set<string>();
  const opening = new Set<string>();

  function ofNode(node: Node): unknown {
    if (node.is === 'value') return node.value;
    if (node.is === 'call') return call(node.name, node.args.map(ofNode));
    const owner = ofNode(node.of);
    if (typeof owner !== 'object' || owner === null || !(node.name in owner)) throw new Error(`nothing has ${node.name}: ${JSON.stringify(owner)}`);
    return (owner as Record<string, unknown>)[node.name];
  }

  const functions: Readonly<Record<string, (...args: never[]) => unknown>> = {
    parameters: (name: string) => parameter(name),
    variables(name: string) {
      if (!(name in variables)) throw new Error(`no variable ${name}`);
      if (opening.has(name)) throw new Error(`the variable ${name} needs itself`);
      opening.add(name);
      const value = of(variables[name]);
      opening.delete(name);
      return value;
    },
    concat: (...parts: string[]) => parts.map(text).join(''),
    toLower: (value: string) => text(value).toLowerCase(),
    take: (value: string, count: number) => text(value).slice(0, count),
    uniqueString: (...parts: string[]) => hash(parts.map(text).join('|'), 13),
    guid: (...parts: string[]) => hash(parts.map(text).join('|'), 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    newGuid: () => '00000000-0000-4000-8000-000000000000',
    resourceGroup: () => group,
    environment: () => ({ suffixes: { storage: 'core.windows.net' } }),
    resourceId: (type: string, ...names: string[]) => idOf(type, names),
    subscriptionResourceId(type: string, name: string) {
      if (!guidPattern.test(name)) throw new Error(`${name} is no id of a role`);
      return `/subscriptions/0/providers/${type}/${name}`;
    },
    reference(id: string, version: string, full?: string) {
      const target = resources.find((each) => idOfResource(each) === id);
      if (!target) throw new Error(`the template has no ${id}`);
      if (target.apiVersion !== version) throw new Error(`${id} is asked in ${version} and written in ${target.apiVersion}`);
      referred.add(id);
      return full === 'Full' ? { identity: identityOf(target) } : (answers[target.type] ?? {});
    },
  };

  function call(name: string, args: unknown[]): unknown {
    const known = functions[name] as ((...args: unknown[]) => unknown) | undefined;
    if (!known) throw new Error(`no function ${name}`);
    return known(...args);
  }

  function parameter(name: string): unknown {
    const row = parameters[name];
    if (!row) throw new Error(`no parameter ${name}`);
    const value = name in given ? given[name] : of(row.defaultValue);
    if (value === undefined) throw new Error(`the parameter ${name} must be given`);
    return value;
  }

  function of(value: unknown): unknown {
    if (typeof value === 'string') return /^\[(?!\[).*\]$/s.test(value) ? ofNode(parse(value.slice(1, -1))) : value;
    if (Array.isArray(value)) return value.map(of);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, of(each)]));
  }

  /** Of a resource of the template; others are not known here. */
  function idOf(type: string, names: readonly unknown[]): string {
    const kinds = type.split('/').slice(1);
    if (kinds.length !== names.length) throw new Error(`${type} has ${kinds.length} names, not ${names.length}`);
    const id = `${group.id}/providers/${type.split('/')[0]}${kinds.map((kind, nth) => `/${kind}/${text(names[nth])}`).join('')}`;
    if (!resources.some((each) => idOfResource(each) === id)) throw new Error(`the template has no ${id}`);
    return id;
  }

  const ids = new Map<Resource, string>();
  function idOfResource(resource: Resource): string {
    const known = ids.get(resource);
    if (known !== undefined) return known;
    if (resource.scope !== undefined) return `scoped|${resource.name}`;
    const names = String(of(resource.name)).split('/');
    const kinds = resource.type.split('/').slice(1);
    const id = `${group.id}/providers/${resource.type.split('/')[0]}${kinds.map((kind, nth) => `/${kind}/${names[nth] ?? ''}`).join('')}`;
    ids.set(resource, id);
    return id;
  }

  return {
    of(value) {
      referred.clear();
      return of(value);
    },
    referred,
  };
}

function identityOf(resource: Resource): object {
  if (!('identity' in resource)) throw new Error(`${resource.type} has no identity`);
  return { principalId: '11111111-1111-4111-8111-111111111111' };
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Error(`text wanted, not ${JSON.stringify(value)}`);
  return value;
}

/** Any that always answers the same. */
function hash(from: string, length: number): string {
  let state = 7;
  for (const letter of from) state = (state * 31 + letter.charCodeAt(0)) % 2_147_483_647;
  let out = '';
  while (out.length < length) out += (state = (state * 48_271) % 2_147_483_647).toString(16);
  return out.slice(0, length);
}
