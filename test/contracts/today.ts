import { z } from 'zod';
import { doors, events, type Earlier, type EventName } from '../../core/flow.ts';
import { asyncapi, openapi } from '../../handlers/documents.ts';
import type { Contract, EnvelopeContract, EventContract, Schema } from './gate.ts';
import { carriers } from './notices.ts';
import { keys } from './samples.ts';
import { rowShapes } from './shop.ts';

/** TODAY'S CONTRACTS: what the program at hand says, takes, answers and keeps, in the form in which releases are archived. */

/** Those of the contracts that have no row in the flow. They grow as those of events do, but for `api`: see docs/contracts.md. */
const versions = { envelope: 1, rows: 1, api: 1, notices: 1 } as const;

export async function today(): Promise<Contract[]> {
  const names = Object.keys(events) as EventName[];
  return [
    ...names.map((name) => eventContract(name, { ...events[name], key: keys[name] })),
    envelope(),
    { contract: 'rows', version: versions.rows, schemas: await rowShapes() },
    { contract: 'api', version: versions.api, document: plain(openapi()) },
    { contract: 'notices', version: versions.notices, carriers, },
  ];
}

interface Described {
  readonly version: number;
  readonly from: string;
  readonly key: string;
  readonly shape: z.ZodType;
  readonly earlier?: readonly Earlier[];
  readonly travels: readonly { readonly kind: string; readonly channel: string; readonly to: readonly string[] }[];
}

export function eventContract(name: string, { version, from, key, shape, travels, earlier = [] }: Described): EventContract {
  const roads = travels.map(({ kind, channel, to }) => ({ kind, channel, to: [...to].sort() }));
  return { contract: 'event', name, version, from, roads, key, schema: schemaOf(shape), reads: earlier.map((each) => ({ version: each.version, schema: schemaOf(each.shape) })) };
}

/** What a reader takes. Rules of our own, which JSON Schema has no word for, are named: one more of them narrows the shape like any other. */
export function schemaOf(shape: z.ZodType): Schema {
  const { $schema: _, ...schema } = z.toJSONSchema(shape, {
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      if (jsonSchema.format === 'email' || jsonSchema.format === 'date-time') delete jsonSchema.pattern; // its spelling is the library's
      const own = ownRules(zodSchema._zod.def.checks ?? []);
      if (own.length > 0) jsonSchema['x-rules'] = own;
    },
  });
  return plain(schema);
}

function ownRules(checks: readonly z.core.$ZodCheck<never>[]): string[] {
  return checks.flatMap(({ _zod: { def } }) => {
    if (def.check === 'overwrite') return ['rewritten'];
    if (def.check !== 'custom') return [];
    const said = def.error?.({ code: 'custom', input: undefined, path: [] } as never);
    return [typeof said === 'string' ? said : 'a rule of its own'];
  });
}

/** Of the AsyncAPI document, where it is told to the world. */
function envelope(): EnvelopeContract {
  const { components } = plain(asyncapi()) as { components: { schemas: Record<string, Schema> } };
  return { contract: 'envelope', version: versions.envelope, schema: components.schemas['CloudEvent']! };
}

const plain = (value: object): Schema => JSON.parse(JSON.stringify(value)) as Schema;

export const bodies = Object.fromEntries(Object.entries(doors).flatMap(([name, door]) => ('body' in door ? [[name, door.body]] : []))) as Readonly<Record<string, z.ZodType>>;
