import { Parser } from '@asyncapi/parser';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { expect } from 'chai';
import { doors, events, queues, services, streams, subscriptions, type Door, type EventName } from '../../core/flow.ts';
import { asyncapi, eventExamples, openapi } from '../../handlers/documents.ts';
import { decode, isMalformed, type Message } from '../../ports/index.ts';

interface Described {
  readonly paths: Record<string, Record<string, { operationId: string; security: object[]; responses: Record<string, unknown> }>>;
  readonly webhooks: Record<string, unknown>;
  readonly components: { readonly schemas: Record<string, unknown> };
}
interface Spoken {
  readonly channels: Record<string, { messages: Record<string, unknown> }>;
  readonly operations: Record<string, { action: string; channel: { $ref: string }; messages: { $ref: string }[] }>;
  readonly components: { readonly messages: Record<string, { examples: { payload: Message }[] }> };
}

describe('The OpenAPI document', () => {
  const document = openapi() as Described;
  const lint = async (source: unknown): Promise<string[]> => {
    const config = await createConfig({ extends: ['spec'] });
    return (await lintFromString({ source: JSON.stringify(source), absoluteRef: 'openapi.json', config })).map(({ ruleId, message, location }) => `${ruleId} ${message} ${location[0]?.pointer}`);
  };

  it('is valid OpenAPI 3.1', async () => {
    expect(document).to.have.property('openapi').that.matches(/^3\.1\./);
    expect(await lint(document)).to.deep.equal([]);
  });

  it('would not pass if it were wrong', async () => {
    const wrong = JSON.parse(JSON.stringify(document).replace('"type":"string"', '"type":"strin"')) as unknown;
    expect(await lint(wrong)).not.to.deep.equal([]);
  });

  it('has every door under /api, the health routes, and no page', () => {
    const said = Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`));
    const wanted = (Object.values(doors) as Door[]).filter(({ page }) => !page).map(({ method, path }) => `${method} ${path}`);
    expect(said).to.have.members([...wanted, 'GET /healthz', 'GET /readyz', 'GET /openapi.json', 'GET /asyncapi.json']);
  });

  it('asks for the token at admin doors and nowhere else', () => {
    for (const [name, door] of Object.entries(doors) as [string, Door][]) {
      if (door.page) continue;
      const { operationId, security, responses } = document.paths[door.path]![door.method.toLowerCase()]!;
      expect(operationId).to.equal(name);
      expect(security, name).to.deep.equal(door.admin ? [{ admin: [] }] : []);
      expect('401' in responses, name).to.equal(door.admin !== undefined || door.raw === true);
    }
  });

  it('tells of the notices of every carrier', () => {
    expect(Object.keys(document.webhooks)).to.deep.equal(['easypost', 'shippo', 'aftership']);
  });

  it('says each shape once', () => {
    expect(Object.keys(document.components.schemas)).to.include.members(['Order', 'Product', 'Stock', 'Mail', 'Problem', 'PlaceOrder']);
    expect(Object.keys(document.components.schemas).filter((name) => name.endsWith('Output'))).to.deep.equal([]);
  });
});

describe('The AsyncAPI document', function () {
  this.timeout(60_000); // the parser alone takes seconds to load
  const document = asyncapi() as Spoken;
  const lint = async (source: unknown): Promise<string[]> =>
    (await new Parser().validate(JSON.stringify(source))).filter(({ severity }) => severity === 0).map(({ message, path }) => `${message} ${path.join('/')}`);

  it('is valid AsyncAPI 3.0', async () => {
    expect(await lint(document)).to.deep.equal([]);
  });

  it('would not pass if it were wrong', async () => {
    expect(await lint(JSON.parse(JSON.stringify(document).replace('"action":"send"', '"action":"sends"')))).not.to.deep.equal([]);
  });

  it('has every event, queue, stream and listener of the flow', () => {
    expect(Object.keys(document.components.messages)).to.have.members(Object.keys(events));
    expect(Object.keys(document.channels)).to.have.members([...queues, ...streams]);
    const received = Object.keys(document.operations).filter((name) => name.includes('.receive.'));
    expect(received).to.have.members(subscriptions.map(({ service, channel }) => `${service}.receive.${channel}`));
    for (const { service, channel, hears } of subscriptions) {
      const { messages } = document.operations[`${service}.receive.${channel}`]!;
      expect(messages.map(({ $ref }) => $ref.split('/').at(-1))).to.have.members([...hears]);
    }
    for (const name of Object.keys(document.operations)) expect(services).to.include(name.split('.')[0]);
  });

  it('gives examples that the shapes and the envelope accept', () => {
    for (const [name, { shape }] of Object.entries(events)) {
      const example = eventExamples[name as EventName];
      expect(shape.parse(example), name).to.deep.equal(example);
      const [{ payload } = { payload: undefined }] = document.components.messages[name]!.examples;
      expect(isMalformed(decode(JSON.stringify(payload))), name).to.equal(false);
    }
  });
});
