import { roles, type Template } from './template.ts';

/**
 * WHAT A TEMPLATE WOULD MAKE, told without a cloud: each resource by its type and name, and what the app's identity would be allowed. What only the platform works out stands as
 * `<hash>`: the letters by which a name is the resource group's own.
 */
export interface Planned {
  readonly type: string;
  readonly name: string;
}
export interface Plan {
  readonly resources: readonly Planned[];
  /** Role → what it is given on. */
  readonly roles: readonly { readonly role: string; readonly on: string }[];
}

type Values = Readonly<Record<string, unknown>>;
const assignment = 'Microsoft.Authorization/roleAssignments';

export function planOf(template: Template, given: Values): Plan {
  const name = reader(template, given);
  const all = template.resources.map((resource) => ({ ...resource, name: name(resource.name) }));
  return {
    resources: all.filter(({ type }) => type !== assignment).map(({ type, name: of }) => ({ type, name: of })),
    roles: all.filter(({ type }) => type === assignment).map(({ scope = '', properties }) => ({ role: roleIn(properties), on: name(scope) })),
  };
}

/** Reads the few expressions that names are made of; numbers and the functions around the parts change nothing that a person needs to know. */
function reader({ parameters, variables }: Template, given: Values): (text: string) => string {
  const parameter = (name: string): string => String(given[name] ?? (parameters[name] as { readonly defaultValue?: unknown } | undefined)?.defaultValue ?? `<${name}>`);
  function read(text: string): string {
    if (!text.startsWith('[')) return text;
    const parts = text.replaceAll(/uniqueString\((?:[^()]|\([^()]*\))*\)/g, "'<hash>'").matchAll(/(variables|parameters)\('(\w+)'\)|'([^']*)'/g);
    const said = [...parts].map(([, kind, name = '', word = '']) => (kind === 'variables' ? read(variables[name] ?? '') : kind === 'parameters' ? parameter(name) : word));
    return said.join('').replaceAll(/(<hash>)+/g, '<hash>');
  }
  return read;
}

const names = new Map<string, string>(Object.entries(roles).map(([name, id]) => [id, name]));
function roleIn(properties: object | undefined): string {
  const id = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/.exec(JSON.stringify(properties ?? {}))?.[0] ?? '';
  return names.get(id) ?? id;
}
