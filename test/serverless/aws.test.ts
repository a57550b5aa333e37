import { expect } from 'chai';
import { encodedOf } from '../../adapters/aws/message.ts';
import { lambdasOn, type ApiResponse, type BatchResponse } from '../../handlers/aws.ts';
import { functions } from '../../handlers/functions.ts';
import type { Opened } from '../../handlers/platform.ts';
import { PortError, type Message } from '../../ports/index.ts';
import { sample } from '../contracts/samples.ts';
import { openWorld, type World } from '../support/world.ts';

/** LAMBDA's handlers on the memory family, given what API Gateway and SQS hand over. */
describe('the handlers of Lambda', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld({ still: true });
  });
  afterEach(() => world.stop());

  function lambdas(kernel = world.kernel): ReturnType<typeof lambdasOn> {
    const opened = { shop: { kernel }, context: { kernel, adminToken: 'for-this-machine-only', rateLimit: false } } as unknown as Opened;
    return lambdasOn(() => Promise.resolve(opened));
  }
  const play = async <Result>(name: string, event: unknown, of = lambdas()): Promise<Result> => (await world.play(of[name]!(event))) as Result;
  const request = (method: string, rawPath: string, more: object = {}): object => ({
    version: '2.0', rawPath, rawQueryString: '', headers: {}, requestContext: { http: { method, sourceIp: '192.0.2.7' } }, isBase64Encoded: false, ...more,
  });

  it('are those of the list, each under its name', () => {
    expect(Object.keys(lambdas())).to.deep.equal(functions.map(({ name }) => name));
  });

  it('read a body in base64 and answer what was stored', async () => {
    const body = Buffer.from(JSON.stringify({ name: 'Tasse für Ærlighed', description: '', price: { amount: 250, currency: 'GBP' } })).toString('base64');
    const headers = { authorization: 'Bearer for-this-machine-only', 'content-type': 'application/json' };
    const put = await play<ApiResponse>('describeProduct', request('PUT', '/api/products/MUG', { headers, pathParameters: { sku: 'MUG' }, body, isBase64Encoded: true }));
    expect(put.statusCode, put.body).to.be.oneOf([200, 201]);
    const got = await play<ApiResponse>('getProduct', request('GET', '/api/products/MUG', { pathParameters: { sku: 'MUG' } }));
    expect((JSON.parse(got.body!) as { name: string }).name).to.equal('Tasse für Ærlighed');
    expect(got.isBase64Encoded).to.equal(false);
  });

  it('answer a path that no door takes with a problem, and HEAD without a body', async () => {
    const lost = await play<ApiResponse>('anythingElse', request('GET', '/api/nowhere'));
    expect(lost.statusCode).to.equal(404);
    const head = await play<ApiResponse>('listProducts', request('HEAD', '/api/products'));
    expect(head.statusCode).to.equal(200);
    expect(head).not.to.have.property('body');
  });

  it('report the third of ten messages alone when only that one could not be settled', async () => {
    const row = functions.find((each) => each.kind === 'queue' && each.queue === 'reserve-stock')!;
    const { kernel } = world;
    const down = (): never => { throw new PortError('unavailable', 'by the test'); };
    const messages = Array.from({ length: 10 }, (_, nth): Message => ({ ...sample('OrderPlaced', 'full'), id: `third-of-ten-${nth}` }));
    const failing = {
      ...kernel,
      queue: { ...kernel.queue, send: () => Promise.resolve().then(down) },
      store: { ...kernel.store, commit: (...given: Parameters<typeof kernel.store.commit>) => (JSON.stringify(given).includes('third-of-ten-2') ? Promise.resolve().then(down) : kernel.store.commit(...given)) },
    };
    const Records = messages.map((message, nth) => {
      const { body, attributes } = encodedOf(message);
      const messageAttributes = Object.fromEntries(Object.entries(attributes).map(([name, { StringValue }]) => [name, { stringValue: StringValue }]));
      return { messageId: `id-${nth}`, body: nth === 2 ? 'no message: third-of-ten-2' : body, attributes: { ApproximateReceiveCount: '1' }, messageAttributes };
    });
    const { batchItemFailures } = await play<BatchResponse>(row.name, { Records }, lambdas(failing));
    expect(batchItemFailures).to.deep.equal([{ itemIdentifier: 'id-2' }]);
  });
});
