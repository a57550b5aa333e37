import type { Carrier } from './carrier.ts';
import { isPortError } from './errors.ts';
import type { Ports } from './index.ts';
import type { Mailer } from './mailer.ts';
import { isMalformed, type Malformed, type Message } from './message.ts';
import type { Queue, Received } from './queue.ts';
import type { Store } from './store.ts';
import type { Stream } from './stream.ts';

/**
 * TRACER: where time goes, told in spans to whoever collects them (OpenTelemetry). It is there only when somebody collects: without it no port is wrapped, nothing is asked,
 * and no message has a trace of ours.
 *
 * - A context is a W3C `traceparent` (https://www.w3.org/TR/trace-context/), handed on explicitly wherever work changes hands: in messages, in the cause of what is said, in
 *   the headers of a request. Within one call it is found by itself: a span that begins while another runs is its child.
 * - Names, kinds and attributes are those of the semantic conventions for messaging and HTTP (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
 * - A message is created in a span of its own, in the commit that says it. That context rides with it on every road and every repetition and never changes. Handling it is a
 *   span of the same trace; what is sent or received in one call is one span, linked to the creation of each message.
 * - No span holds what a message says. A tracer never throws, and what it cannot tell anybody it forgets.
 */
export interface Tracer {
  /** Runs the work in a span, which ends with it; a rejection is noted and handed on. Spans that begin meanwhile are its children. */
  span<Result>(span: Span, work: (begun: Begun) => Promise<Result>): Promise<Result>;
  /** A span that the caller ends. One that is never ended is never told. */
  begin(span: Span): Begun;
  /** The context in which the caller runs. */
  current(): string | undefined;
}

export type Attributes = Readonly<Record<string, string | number>>;

export interface Span {
  readonly name: string;
  readonly kind: 'server' | 'client' | 'producer' | 'consumer';
  readonly attributes: Attributes;
  /** A traceparent; `none`: a trace begins here. Absent: the span in which the caller runs. What cannot be read is `none`. */
  readonly parent?: string;
  readonly links?: readonly string[];
}

export interface Begun {
  readonly traceparent: string;
  note(attributes: Attributes): void;
  link(traceparents: readonly string[]): void;
  /** With an error it has failed. */
  end(error?: unknown): void;
}

/** The text, if it is a traceparent of the version that we know and speak. */
export function traceparentOf(text: string | undefined): string | undefined {
  return text !== undefined && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text) ? text : undefined;
}

/** What `error.type` says: of few values, as a label of a metric must be. */
export function errorTypeOf(error: unknown): string {
  if (isPortError(error)) return error.kind;
  return error instanceof Error ? error.name : '_OTHER';
}

// ---------------------------------------------------------------- the ports, watched

/** `servicebus`, `eventhubs` …: the conventions' name of the system behind a port. */
export type MessagingSystem = 'anyport' | 'servicebus' | 'eventhubs' | 'aws_sqs' | 'aws_kinesis';

/** The ports as core sees them, each call a span where it is worth one. */
export function traced<Given extends Ports>(ports: Given, tracer: Tracer, systems: { readonly queue: MessagingSystem; readonly stream: MessagingSystem }): Given {
  return {
    ...ports,
    tracer,
    store: tracedStore(ports.store, tracer),
    queue: tracedQueue(ports.queue, tracer, systems.queue),
    stream: tracedStream(ports.stream, tracer, systems.stream),
    mailer: tracedMailer(ports.mailer, tracer),
    carrier: tracedCarrier(ports.carrier, tracer),
  };
}

/** What is said gets its context in the commit that says it. Who commits may be somebody else (core/kernel/turns.ts): so what a message brings along counts first. */
function tracedStore(store: Store, tracer: Tracer): Store {
  return {
    ...store,
    async commit(partition, commit) {
      const { outgoing } = commit;
      if (!outgoing || outgoing.length === 0) return store.commit(partition, commit);
      const begun: Begun[] = [];
      const traced = outgoing.map(({ message, roads }) => {
        const [only, ...others] = roads;
        const span = tracer.begin({
          name: only && others.length === 0 ? `create ${only.channel}` : 'create',
          kind: 'producer',
          attributes: {
            ...operation('create', 'create'), ...(only && others.length === 0 ? { 'messaging.destination.name': only.channel } : {}),
            ...aboutMessage(message), 'cloudevents.event_source': message.source,
          },
          ...(message.traceparent === undefined ? {} : { parent: message.traceparent }),
        });
        begun.push(span);
        return { message: { ...message, traceparent: span.traceparent }, roads };
      });
      // After a failure it is decided and said anew, with spans of its own: those of a commit that was not confirmed are never told.
      const committed = await store.commit(partition, { ...commit, outgoing: traced });
      for (const span of begun) span.end();
      return committed;
    },
  };
}

function tracedQueue(queue: Queue, tracer: Tracer, system: MessagingSystem): Queue {
  const settled = (received: Received, name: string, work: () => Promise<void>): Promise<void> =>
    tracer.span(
      {
        name: `${name} ${received.queue}`, kind: 'client', parent: contextsOf([received.message])[0] ?? 'none', links: contextsOf([received.message]),
        attributes: {
          ...operation(name, 'settle'), ...on(system, received.queue), ...(isMalformed(received.message) ? {} : aboutMessage(received.message)),
          ...(system === 'servicebus' ? { 'messaging.servicebus.disposition_status': 'complete' } : {}),
        },
      },
      work,
    );
  return {
    ...queue,
    send: (name, messages, options) => tracer.span(sending(system, name, messages), () => queue.send(name, messages, options)),
    receive: (name, options) => gathered(tracer, receiving(system, name), () => queue.receive(name, options), (all) => all.map(({ message }) => message)),
    done: (received) => settled(received, 'complete', () => queue.done(received)),
    retry: (received, options) => settled(received, 'retry', () => queue.retry(received, options)),
  };
}

function tracedStream(stream: Stream, tracer: Tracer, system: MessagingSystem): Stream {
  return {
    ...stream,
    append: (name, messages) =>
      tracer.span(sending(system, name, messages), async (begun) => {
        const failures = await stream.append(name, messages);
        if (failures[0]) begun.note({ 'error.type': errorTypeOf(failures[0].error) });
        return failures;
      }),
    read: (name, partition, options) =>
      gathered(tracer, receiving(system, name, partition), () => stream.read(name, partition, options), (batch) => ('gap' in batch ? [] : batch.events.map(({ message }) => message))),
  };
}

/** Whoever takes the letter is told the context, if its way has room for it. */
function tracedMailer(mailer: Mailer, tracer: Tracer): Mailer {
  const span = (name: string, letterKey: string): Span => ({ name: `${name} mail`, kind: 'client', attributes: { 'anyport.port': 'mailer', 'anyport.letter': letterKey } });
  return {
    ...mailer,
    send: (letter) => tracer.span(span('send', letter.key), ({ traceparent }) => mailer.send({ ...letter, traceparent })),
    ask: (letterKey) => tracer.span(span('ask', letterKey), () => mailer.ask(letterKey)),
  };
}

function tracedCarrier(carrier: Carrier, tracer: Tracer): Carrier {
  const span = (name: string, orderId: string): Span => ({ name: `${name} carrier`, kind: 'client', attributes: { 'anyport.port': 'carrier', 'messaging.message.conversation_id': orderId } });
  return {
    book: (request) => tracer.span(span('book', request.orderId), ({ traceparent }) => carrier.book({ ...request, traceparent })),
    find: (orderId) => tracer.span(span('find', orderId), () => carrier.find(orderId)),
  };
}

/** The span in which one message is handled: it belongs to the trace in which the message was created. */
export function processing(message: Message, { channel, consumer, attempts }: { channel: string; consumer: string; attempts?: number }): Span {
  return {
    name: `process ${channel}`,
    kind: 'consumer',
    parent: message.traceparent ?? 'none',
    links: contextsOf([message]),
    attributes: {
      ...operation('process', 'process'), 'messaging.destination.name': channel, 'messaging.consumer.group.name': consumer, ...aboutMessage(message),
      ...(attempts === undefined ? {} : { 'anyport.attempts': attempts }),
    },
  };
}

// ---------------------------------------------------------------- the conventions' words

const operation = (name: string, type: 'create' | 'send' | 'receive' | 'process' | 'settle'): Attributes => ({ 'messaging.operation.name': name, 'messaging.operation.type': type });
const on = (system: MessagingSystem, channel: string): Attributes => ({ 'messaging.system': system, 'messaging.destination.name': channel });

function aboutMessage({ id, type, correlationid }: Message): Attributes {
  return { 'messaging.message.id': id, 'cloudevents.event_type': type, ...(correlationid === undefined ? {} : { 'messaging.message.conversation_id': correlationid }) };
}

const contextsOf = (messages: readonly (Message | Malformed)[]): string[] =>
  messages.flatMap((message) => (isMalformed(message) ? [] : (traceparentOf(message.traceparent) ?? [])));

/** One message is sent within its own trace; several begin one of their own, which is linked to theirs. The relay sends for many: whose call it is says nothing. */
function sending(system: MessagingSystem, channel: string, messages: readonly Message[]): Span {
  const [only, ...others] = messages;
  const alone = only !== undefined && others.length === 0;
  return {
    name: `send ${channel}`,
    kind: 'client',
    parent: (alone && only.traceparent) || 'none',
    links: contextsOf(messages),
    attributes: { ...operation('send', 'send'), ...on(system, channel), ...(alone ? aboutMessage(only) : { 'messaging.batch.message_count': messages.length }) },
  };
}

function receiving(system: MessagingSystem, channel: string, partition?: string): Span {
  return {
    name: `receive ${channel}`,
    kind: 'client',
    parent: 'none',
    attributes: { ...operation('receive', 'receive'), ...on(system, channel), ...(partition === undefined ? {} : { 'messaging.destination.partition.id': partition }) },
  };
}

/** A call that has received nothing is not told: there would be one a few seconds for each reader, day and night. */
async function gathered<Result>(tracer: Tracer, span: Span, work: () => Promise<Result>, messagesOf: (result: Result) => readonly (Message | Malformed)[]): Promise<Result> {
  const begun = tracer.begin(span);
  try {
    const result = await work();
    const messages = messagesOf(result);
    if (messages.length === 0) return result;
    begun.note({ 'messaging.batch.message_count': messages.length });
    begun.link(contextsOf(messages));
    begun.end();
    return result;
  } catch (error) {
    begun.end(error);
    throw error;
  }
}
