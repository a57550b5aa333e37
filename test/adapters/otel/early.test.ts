import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { expect } from 'chai';
import { earlyTracer } from '../../../adapters/otel/early.ts';
import { openTracer, type Telemetry } from '../../../adapters/otel/index.ts';
import { traceparentOf, type Span } from '../../../ports/index.ts';

/** A cold process has traces before it has what collects them. */
describe('the tracer of a cold process', () => {
  const span = (name: string, more: Partial<Span> = {}): Span => ({ name, kind: 'server', attributes: { asked: 'x' }, ...more });
  const caller = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;

  function collecting(): { readonly exporter: InMemorySpanExporter; readonly telemetry: Telemetry } {
    const exporter = new InMemorySpanExporter();
    const opened = openTracer({ processors: [new SimpleSpanProcessor(exporter)], discreet: (text) => text.replace('secret', '…') });
    return { exporter, telemetry: { ...opened, settle: () => Promise.resolve() } };
  }

  it('tells afterwards what was, under the ids that were given, with times, parents, links and failures', async () => {
    const { exporter, telemetry } = collecting();
    let open = (): void => {};
    const { tracer, opened } = earlyTracer(() => new Promise((resolve) => (open = () => resolve(telemetry))), () => expect.fail('it opens'));
    let inner = '';
    const before = Date.now();
    await tracer.span(span('outer', { parent: caller }), async (begun) => {
      begun.note({ more: 'a secret' });
      begun.link([caller]);
      expect(tracer.current()).to.equal(begun.traceparent);
      await tracer.span(span('inner'), async ({ traceparent }) => {
        inner = traceparent;
        throw new TypeError('by the test');
      }).catch(() => undefined);
    });
    expect(exporter.getFinishedSpans()).to.have.length(0);
    open();
    await opened;
    const [failed, whole] = exporter.getFinishedSpans();
    expect(`00-${failed!.spanContext().traceId}-${failed!.spanContext().spanId}-01`).to.equal(inner);
    expect([failed!.name, failed!.parentSpanContext?.spanId, failed!.attributes['error.type']]).to.deep.equal(['inner', whole!.spanContext().spanId, 'TypeError']);
    expect([whole!.name, whole!.spanContext().traceId, whole!.parentSpanContext?.spanId]).to.deep.equal(['outer', 'ab'.repeat(16), 'cd'.repeat(8)]);
    expect(whole!.attributes).to.deep.equal({ asked: 'x', more: 'a …' });
    expect(whole!.links.map(({ context }) => context.spanId)).to.deep.equal(['cd'.repeat(8)]);
    expect(whole!.startTime[0]).to.be.within(Math.floor(before / 1_000) - 1, Math.ceil(Date.now() / 1_000));
  });

  it('is the parent of what begins in it after the other is there, and is told itself when it ends then', async () => {
    const { exporter, telemetry } = collecting();
    let open = (): void => {};
    const { tracer, opened } = earlyTracer(() => new Promise((resolve) => (open = () => resolve(telemetry))), () => expect.fail('it opens'));
    await tracer.span(span('early', { parent: 'none' }), async () => {
      open();
      await opened;
      await tracer.span(span('late'), () => tracer.span(span('later'), async () => undefined));
      tracer.begin(span('other', { parent: caller })).end();
    });
    const found = new Map(exporter.getFinishedSpans().map((each) => [each.name, each]));
    expect([...found.keys()]).to.deep.equal(['later', 'late', 'other', 'early']);
    const parent = (name: string): string | undefined => found.get(name)!.parentSpanContext?.spanId;
    const id = (name: string): string => found.get(name)!.spanContext().spanId;
    expect([parent('early'), parent('late'), parent('later'), parent('other')]).to.deep.equal([undefined, id('early'), id('late'), 'cd'.repeat(8)]);
  });

  it('keeps a thousand spans and no more', async () => {
    const { exporter, telemetry } = collecting();
    let open = (): void => {};
    const { tracer, opened } = earlyTracer(() => new Promise((resolve) => (open = () => resolve(telemetry))), () => expect.fail('it opens'));
    for (let n = 0; n < 1_005; n++) tracer.begin(span('many')).end();
    open();
    await opened;
    expect(exporter.getFinishedSpans()).to.have.length(1_000);
  });

  it('goes on giving ids when what collects cannot be opened, and says so once', async () => {
    const said: unknown[] = [];
    const { tracer, opened } = earlyTracer(() => Promise.reject(new Error('by the test')), (error) => said.push(error));
    expect(await opened).to.equal(undefined);
    expect(said).to.have.length(1);
    expect(await tracer.span(span('one', { parent: 'unreadable' }), async ({ traceparent }) => traceparentOf(traceparent))).to.be.a('string');
    const { traceparent } = tracer.begin(span('two', { parent: caller }));
    expect(traceparent).to.match(new RegExp(`^00-${'ab'.repeat(16)}-[0-9a-f]{16}-01$`));
  });
});
