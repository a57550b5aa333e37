import { expect } from 'chai';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { identity } from '../../../adapters/azure/identity.ts';

/** The platform's own address for tokens, as its page describes it: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference */
describe('the identity of a function', () => {
  let server: Server;
  let asked: IncomingMessage | undefined;
  let answer: { status: number; body: string };

  before(async () => {
    server = createServer((request, response) => {
      asked = request;
      response.writeHead(answer.status).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => server.close());
  beforeEach(() => {
    answer = { status: 200, body: JSON.stringify({ access_token: 'a.b.c', expires_on: '1790000000', resource: 'https://storage.azure.com', token_type: 'Bearer' }) };
  });

  const env = (): Record<string, string> => ({ IDENTITY_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}/msi/token`, IDENTITY_HEADER: 'only-from-inside' });
  const failure = async (): Promise<Error & { kind?: string }> => (await identity(env())).getToken('x').then(() => expect.fail('no token should have come'), (error: Error) => error);

  it('asks the platform for the resource of the scope, with the header that only the app knows', async () => {
    const token = await (await identity(env())).getToken(['https://storage.azure.com/.default']);
    expect(token).to.deep.equal({ token: 'a.b.c', expiresOnTimestamp: 1_790_000_000_000 });
    expect(asked!.url).to.equal('/msi/token?resource=https%3A%2F%2Fstorage.azure.com&api-version=2019-08-01');
    expect(asked!.headers['x-identity-header']).to.equal('only-from-inside');
  });

  it('asks for one of several identities by its client id', async () => {
    await (await identity({ ...env(), AZURE_CLIENT_ID: 'c1' })).getToken('x');
    expect(asked!.url).to.include('client_id=c1');
  });

  it('is denied where the platform knows nobody, and unavailable while it cannot say', async () => {
    answer = { status: 400, body: '{"statusCode":400,"message":"No managed identity"}' };
    expect((await failure()).name).to.equal('AuthenticationError');
    for (const [status, body] of [[429, ''], [500, ''], [404, ''], [200, 'nonsense'], [200, '{}'], [200, '{"access_token":"a","expires_on":"soon"}'], [302, '']] as const) {
      answer = { status, body };
      expect((await failure()).kind, `${status} ${body}`).to.equal('unavailable');
    }
  });

  it('is found by the SDK where there is no platform, or where a secret was set', async () => {
    for (const each of [{}, { ...env(), AZURE_TENANT_ID: 't' }, { ...env(), IDENTITY_SERVER_THUMBPRINT: 'f' }]) expect((await identity(each)).constructor.name).to.equal('DefaultAzureCredential');
  });
});
