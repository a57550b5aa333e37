import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { amqpError } from '../../../adapters/azure/errors.ts';
import { openAzureQueue, openAzureStream } from '../../../adapters/azure/index.ts';
import { encodedOf, messageOf, nativeOf, type Parts } from '../../../adapters/azure/message.ts';
import { systemClock } from '../../../adapters/system/index.ts';
import { Invalid, PortError, isPortError, limits, type Message } from '../../../ports/index.ts';
import { said, saidOfBytes } from '../../conformance/family.ts';

// Written from the AMQP binding of CloudEvents 1.0.2 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md).

const whole = said('m1', { subject: 'ü 漢 😀', partitionkey: 'key|1', correlationid: 'c', causationid: 'd', traceparent: '00-1-2-01', data: { text: '"\u2028\u0000', list: [1, null] } });

/** Over the wire and back, as the SDKs hand it over: bytes for the body, and the application properties. */
const travelled = (message: Message): Message | { malformed: string; raw: string } => messageOf({ ...encodedOf(message) });

describe('Azure: a message on the wire', () => {
  it('is in the binary mode of CloudEvents: the data is the body, the other attributes are properties', () => {
    const { body, contentType, properties } = encodedOf(whole);
    expect(JSON.parse(body.toString())).to.deep.equal(whole.data);
    expect(contentType).to.equal('application/json; charset=utf-8');
    expect(properties).to.deep.equal({
      cloudEvents_specversion: '1.0', cloudEvents_id: 'm1', cloudEvents_source: '/conformance', cloudEvents_type: 'Happened', cloudEvents_subject: 'ü 漢 😀',
      cloudEvents_time: '2026-11-20T09:00:00.000Z', cloudEvents_partitionkey: 'key|1', cloudEvents_sequence: '0000000000', cloudEvents_dataversion: '1',
      cloudEvents_correlationid: 'c', cloudEvents_causationid: 'd', cloudEvents_traceparent: '00-1-2-01',
      traceparent: '00-1-2-01', 'Diagnostic-Id': '00-1-2-01',
    });
  });

  it('shows its type and its correlation where the tools of the platform look for them', () => {
    expect(encodedOf(whole)).to.include({ subject: 'Happened', correlationId: 'c' });
    expect(encodedOf(said('m1'))).not.to.have.property('correlationId');
    expect(encodedOf(said('m1', { type: 'T'.repeat(129) }))).not.to.have.property('subject');
  });

  it('is the same on the other side', () => {
    expect(travelled(whole)).to.deep.equal(whole);
    for (const data of [null, 0, '', 'text', [], { '': {} }, false]) expect(travelled(said('m1', { data }))).to.deep.equal(said('m1', { data }));
  });

  it('travels in one piece, and whole, when an attribute has no place among the properties', () => {
    const odd: Message[] = [
      said('m1', { subject: 's'.repeat(1_025) }),
      said('m1', { subject: 'half a letter \ud800' }),
      { ...said('m1'), retries: 3 } as Message,
      { ...said('m1'), Name: 'capital letters' } as Message,
    ];
    for (const message of odd) {
      const encoded = encodedOf(message);
      expect(encoded.contentType).to.match(/^application\/cloudevents\+json/);
      expect(encoded.properties).to.deep.equal({});
      expect(messageOf(encoded)).to.deep.equal(message);
    }
    expect(encodedOf(said('m1', { subject: 's'.repeat(1_024) })).contentType).to.match(/^application\/json/);
  });

  it('is refused over the limit of an event, before it is sent', () => {
    expect(() => encodedOf(saidOfBytes('over', limits.eventBytesMax + 1))).to.throw(PortError).with.property('kind', 'tooLarge');
    expect(travelled(saidOfBytes('at', limits.eventBytesMax))).to.have.property('id', 'at');
  });

  it('has a key and an id of at most 128 letters for the broker, and different ones stay different', () => {
    expect(nativeOf('x'.repeat(128))).to.equal('x'.repeat(128));
    const [one, two] = ['a', 'b'].map((letter) => nativeOf('x'.repeat(128) + letter));
    expect(one).to.match(/^[0-9a-f]{64}$/).and.not.equal(two);
    expect(nativeOf('')).to.have.length(64);
  });
});

describe('Azure: what strangers send', () => {
  const properties = encodedOf(said('m1', { data: 1 })).properties;
  const text = (value: string): Buffer => Buffer.from(value);

  it('is read with the prefix that has a colon, which the binding had first', () => {
    const colons = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name.replace('_', ':'), value]));
    expect(messageOf({ body: text('1'), properties: colons })).to.deep.equal(said('m1', { data: 1 }));
  });

  it('is read in the structured mode, whatever stands in the properties', () => {
    expect(messageOf({ body: text(JSON.stringify(whole)), contentType: 'application/cloudevents+json; charset=utf-8', properties })).to.deep.equal(whole);
  });

  it('is read as a bare envelope, as bytes in one piece or several, as text and as a value', () => {
    const json = JSON.stringify(whole);
    const [head, tail] = [Buffer.from(json).subarray(0, 30), Buffer.from(json).subarray(30)];
    for (const body of [text(json), [head, tail], json, whole]) expect(messageOf({ body })).to.deep.equal(whole);
  });

  it('may have a time of AMQP, of which the libraries make a number', () => {
    const time = Date.parse('2026-11-20T09:00:00.000Z');
    for (const given of [time, new Date(time)]) expect(messageOf({ body: text('1'), properties: { ...properties, cloudEvents_time: given } })).to.have.property('time', '2026-11-20T09:00:00.000Z');
    expect(messageOf({ body: text('1'), properties: { ...properties, cloudEvents_time: Number.NaN } })).to.have.property('malformed', 'time is missing');
  });

  it('keeps the trace that a library has written beside the event, and the event\'s own before it', () => {
    expect(messageOf({ body: text('1'), properties: { ...properties, 'Diagnostic-Id': '00-3-4-00' } })).to.have.property('traceparent', '00-3-4-00');
    const both = { ...properties, cloudEvents_traceparent: '00-1-2-01', traceparent: '00-5-6-01' };
    expect(messageOf({ body: text('1'), properties: both })).to.have.property('traceparent', '00-1-2-01');
  });

  it('is malformed, word for word, when it is no event', () => {
    for (const [raw, malformed] of [['', 'not JSON'], ['[]', 'not an object'], ['null', 'not an object'], ['{"specversion":"0.3"}', 'specversion is not 1.0'], ['<a/>', 'not JSON']] as const) {
      expect(messageOf({ body: text(raw) })).to.deep.equal({ malformed, raw });
    }
  });

  it('is malformed with its attributes and its body when one of them cannot be read', () => {
    const broken: readonly [Parts, string][] = [
      [{ body: text('{'), properties }, 'data is not JSON'],
      [{ body: text(''), properties }, 'data is not JSON'],
      [{ body: text('1'), properties: { ...properties, cloudEvents_id: 7 } }, 'id is missing'],
      [{ body: text('1'), properties: { ...properties, cloudEvents_specversion: '0.3' } }, 'specversion is not 1.0'],
      [{ body: text('1'), properties: { ...properties, cloudEvents_malformed: 'x' } }, 'malformed is no attribute of ours'],
    ];
    for (const [parts, malformed] of broken) {
      const read = messageOf(parts);
      expect(read).to.have.property('malformed', malformed);
      const raw = JSON.parse((read as { raw: string }).raw) as Record<string, unknown>;
      expect(raw).to.include({ body: (parts.body as Buffer).toString(), source: '/conformance' });
    }
  });

  it('cannot reach past the data, nor past the attributes', () => {
    expect(messageOf({ body: text('1,"id":"other"'), properties })).to.have.property('malformed', 'data is not JSON');
    expect(messageOf({ body: text('1'), properties: { ...properties, cloudEvents_data: 2 } })).to.have.property('data', 1);
    const strange = JSON.parse('{"cloudEvents___proto__":{"polluted":true}}') as Record<string, unknown>;
    expect(messageOf({ body: text('1'), properties: { ...properties, ...strange } })).to.deep.equal(said('m1', { data: 1 }));
    expect(({} as { polluted?: boolean }).polluted).to.equal(undefined);
  });

  it('never throws, whatever the body is made of', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const body of [undefined, null, 7, 7n, true, circle, [1, 2], Symbol('s'), () => 1, new Date(0), [Buffer.from('a'), 'b'], []]) {
      expect(messageOf({ body })).to.have.property('malformed');
    }
  });
});

describe('Azure: errors of the SDKs for AMQP', () => {
  const thrown = (code: string | undefined, name = 'MessagingError'): Error => Object.assign(new Error('about sb://shop.servicebus.windows.net'), { name, ...(code === undefined ? {} : { code }) });

  it('become those of the ports, whichever SDK has named them', () => {
    for (const [kind, codes] of Object.entries({
      missing: ['MessagingEntityNotFound', 'MessagingEntityNotFoundError'],
      lockLost: ['MessageLockLost', 'MessageLockLostError', 'MessageNotFound'],
      tooLarge: ['MessageSizeExceeded', 'MessageTooLargeError'],
      denied: ['UnauthorizedAccess', 'UnauthorizedError'],
      throttled: ['ServiceBusy', 'ServerBusyError', 'QuotaExceeded', 'QuotaExceededError', 'SenderBusyError'],
    })) {
      for (const code of codes) expect(amqpError(thrown(code), 'send to work', 'work'), code).to.include({ kind, key: 'work' });
    }
    expect(amqpError(thrown(undefined, 'CredentialUnavailableError'), 'send').kind).to.equal('denied');
  });

  it('are unavailable when nobody knows them, and what is one of the ports already stays itself', () => {
    for (const error of [thrown('ServiceTimeout'), thrown('ECONNREFUSED'), thrown('toString'), new Error('x'), 'text', undefined, null, new AggregateError([])]) expect(amqpError(error, 'send').kind).to.equal('unavailable');
    const own = new PortError('tooLarge', 'x');
    expect(amqpError(own, 'send')).to.equal(own);
  });

  it('of several attempts are the last one, and repeat nothing that the service has said', () => {
    const error = amqpError(new AggregateError([thrown('ServiceTimeout'), thrown('ServiceBusy')]), 'send to work');
    expect(isPortError(error, 'throttled')).to.equal(true);
    expect(error.message).to.equal('throttled: send to work: ServiceBusy');
    expect(error.cause).to.be.instanceOf(AggregateError);
  });
});

describe('Azure: opening', () => {
  it('takes a name or a connection string, and nothing else', async () => {
    const connectionString = 'Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true';
    for (const open of [openAzureQueue, openAzureStream]) {
      for (const wrong of [{}, { connectionString, fullyQualifiedNamespace: 'a.servicebus.windows.net' }, { connectionString: 'DefaultEndpointsProtocol=https' }, { fullyQualifiedNamespace: 'https://a/b' }]) {
        expect(await open({ ...wrong, clock: systemClock }).catch((error: unknown) => error), JSON.stringify(wrong)).to.be.instanceOf(Invalid);
      }
      await (await open({ connectionString, clock: systemClock })).close();
    }
  });

  it('takes a connection string for a server on this machine alone: a key that opens all goes nowhere else', async () => {
    const key = 'SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0';
    for (const open of [openAzureQueue, openAzureStream]) {
      for (const host of ['shop.servicebus.windows.net', '127.0.0.1.example.com', 'localhost@shop.servicebus.windows.net', '10.0.0.1:5672', '']) {
        const error: unknown = await open({ connectionString: `Endpoint=sb://${host}/;${key}`, clock: systemClock }).catch((thrown: unknown) => thrown);
        expect(error, host).to.be.instanceOf(Invalid);
        expect(String(error)).not.to.match(/c2VjcmV0/);
      }
      const two = `Endpoint=sb://127.0.0.1:1;Endpoint=sb://shop.servicebus.windows.net;${key}`;
      expect(await open({ connectionString: two, clock: systemClock }).catch((thrown: unknown) => thrown), 'two').to.be.instanceOf(Invalid);
      for (const host of ['localhost', '127.0.0.1:1', '[::1]:5672/']) await (await open({ connectionString: `Endpoint=sb://${host};${key}`, clock: systemClock })).close();
    }
  });

  it('loads each SDK, and the library for credentials, when something of it is opened and not before', () => {
    const loadedBy = (file: string): string[] => {
      const text = readFileSync(new URL(`../../../adapters/azure/${file}`, import.meta.url), 'utf8');
      return [...text.matchAll(/^(?:import|export) (?!type\b)[^;]*from '([^']+)'/gm)].map(([, name]) => name!);
    };
    expect(loadedBy('index.ts')).to.deep.equal(['../../ports/index.ts', './identity.ts']);
    expect(loadedBy('identity.ts').filter((name) => name.startsWith('@azure/'))).to.deep.equal([]);
    for (const [file, sdk] of [['queue.ts', '@azure/service-bus'], ['stream.ts', '@azure/event-hubs']] as const) expect(loadedBy(file).filter((name) => name.startsWith('@azure/'))).to.deep.equal([sdk]);
  });
});
