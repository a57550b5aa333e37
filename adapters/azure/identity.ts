import type { AccessToken, TokenCredential } from '@azure/core-auth';
import { PortError } from '../../ports/index.ts';

/**
 * Who we are to the cloud. In a function the platform itself stands for it, at an address that it tells (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference):
 * it is asked straight, because the SDK for all ways there are is larger than all else that an order needs. Everywhere else it is that SDK, loaded then: managed identity,
 * environment, or the developer's login (https://learn.microsoft.com/azure/developer/javascript/sdk/credential-chains).
 */
export async function identity(env: Readonly<Record<string, string | undefined>> = process.env): Promise<TokenCredential> {
  const { IDENTITY_ENDPOINT: address, IDENTITY_HEADER: header, AZURE_CLIENT_ID: client } = env;
  // A secret in the environment comes first there, too; and Service Fabric shows a certificate of its own.
  const another = env['AZURE_TENANT_ID'] !== undefined || env['IDENTITY_SERVER_THUMBPRINT'] !== undefined;
  if (address !== undefined && header !== undefined && !another) return platformIdentity(address, header, client);
  const { DefaultAzureCredential } = await import('@azure/identity');
  return new DefaultAzureCredential();
}

const patienceMilliseconds = 10_000;

/** Keeps no token: the platform does, and whoever asks for one does. `client`: which identity, if the app has several. */
function platformIdentity(address: string, header: string, client: string | undefined): TokenCredential {
  return {
    async getToken(scopes): Promise<AccessToken> {
      const [scope = ''] = typeof scopes === 'string' ? [scopes] : scopes;
      const url = new URL(address);
      url.searchParams.set('resource', scope.replace(/\/\.default$/, ''));
      url.searchParams.set('api-version', '2019-08-01');
      if (client !== undefined) url.searchParams.set('client_id', client);
      const { status, body } = await asked(url, header);
      // So are those of the SDK called which say that there is no token for us.
      if (status >= 400 && status < 500 && status !== 404 && status !== 410 && status !== 429) throw Object.assign(new Error(`the platform gives no token: ${status}`), { name: 'AuthenticationError' });
      const token = status === 200 ? tokenOf(body) : undefined;
      if (!token) throw new PortError('unavailable', `the platform gives no token now: ${status}`);
      return token;
    },
  };
}

async function asked(url: URL, header: string): Promise<{ readonly status: number; readonly body: unknown }> {
  try {
    const response = await fetch(url, { headers: { 'x-identity-header': header }, redirect: 'manual', signal: AbortSignal.timeout(patienceMilliseconds) });
    const text = await response.text();
    return { status: response.status, body: response.status === 200 ? (JSON.parse(text) as unknown) : undefined };
  } catch (cause) {
    throw new PortError('unavailable', 'the platform gives no token now', { cause });
  }
}

/** `expires_on` is in seconds since 1970, as a number or a text. */
function tokenOf(body: unknown): AccessToken | undefined {
  const { access_token: token, expires_on: end } = (body ?? {}) as { readonly access_token?: unknown; readonly expires_on?: unknown };
  const seconds = Number(end);
  return typeof token === 'string' && token !== '' && Number.isFinite(seconds) && seconds > 0 ? { token, expiresOnTimestamp: seconds * 1_000 } : undefined;
}
