import * as client from 'openid-client';
import { PortError } from '../../ports/index.ts';

/**
 * AN IDENTITY PROVIDER that speaks OpenID Connect: the code flow with PKCE, state and nonce. What it is, is read from its own description once; whose ID token it is, is
 * checked by openid-client: issuer, audience, time, nonce, and the signature with the provider's keys.
 */
export interface ProviderOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** A claim of the ID token; with dots, within an object. */
  readonly roleClaim: string;
}

interface Way {
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}
export interface Arrived {
  /** The provider's own name for the person. */
  readonly subject: string;
  /** What people call him. */
  readonly name: string;
  readonly roles: readonly string[];
}

const answerSecondsMax = 10;
const nameCharactersMax = 200;
const rolesMax = 500;

/** Throws `unavailable` when the provider cannot be reached, or does not describe itself. */
export async function openProvider({ issuer, clientId, clientSecret, roleClaim }: ProviderOptions) {
  const server = new URL(issuer);
  const execute = [client.enableNonRepudiationChecks, ...(server.protocol === 'http:' ? [client.allowInsecureRequests] : [])];
  const config = await client.discovery(server, clientId, clientSecret, undefined, { execute, timeout: answerSecondsMax }).catch((error: unknown) => {
    throw new PortError('unavailable', 'the identity provider does not describe itself', { cause: error });
  });

  return {
    async leave({ redirectUri, state, nonce, verifier }: Way): Promise<string> {
      const challenge = await client.calculatePKCECodeChallenge(verifier);
      const asked = { redirect_uri: redirectUri, scope: 'openid profile email', code_challenge: challenge, code_challenge_method: 'S256', state, nonce };
      return client.buildAuthorizationUrl(config, asked).href;
    },
    async arrive({ redirectUri, state, nonce, verifier }: Way, query: Readonly<Record<string, string | undefined>>): Promise<Arrived | { readonly refused: string }> {
      const back = new URL(redirectUri);
      for (const [name, value] of Object.entries(query)) if (value !== undefined) back.searchParams.set(name, value);
      try {
        const tokens = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
        return arrived(tokens.claims()!, roleClaim);
      } catch (error) {
        if (isOutage(error)) throw new PortError('unavailable', 'the identity provider does not answer', { cause: error });
        return { refused: wordOf(error) };
      }
    },
  };
}

type Claims = Readonly<Record<string, unknown>> & { readonly sub: string };

function arrived(claims: Claims, roleClaim: string): Arrived {
  const { sub, preferred_username: login, email, name } = claims;
  const called = [login, email, name, sub].find((each) => typeof each === 'string' && each !== '') as string;
  // `token` is whoever has the admin token, and nobody else.
  return { subject: clipped(sub), name: called === 'token' ? `token (${clipped(sub)})` : clipped(called), roles: rolesOf(claims, roleClaim) };
}

/** No control characters: it is shown, and written down. */
const clipped = (text: string): string => [...text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '')].slice(0, nameCharactersMax).join('');

/** Under the whole name first, since there are claims whose names are addresses. */
function rolesOf(claims: Claims, roleClaim: string): readonly string[] {
  const within = (value: unknown, part: string): unknown => (typeof value === 'object' && value !== null && Object.hasOwn(value, part) ? (value as Record<string, unknown>)[part] : undefined);
  const found = within(claims, roleClaim) ?? roleClaim.split('.').reduce(within, claims as unknown);
  if (typeof found === 'string') return [found];
  return Array.isArray(found) ? found.slice(0, rolesMax).filter((each) => typeof each === 'string') : [];
}

/** Not the person's fault, and worth another try. */
function isOutage(error: unknown): boolean {
  if (error instanceof client.ClientError) return error.code === 'OAUTH_TIMEOUT' || error.cause instanceof TypeError || (error.cause instanceof Response && error.cause.status >= 500);
  return error instanceof TypeError && error.message === 'fetch failed';
}

/** Of the library's own words only the code: what the provider says may have a person in it. */
const wordOf = (error: unknown): string => String((error as { readonly code?: unknown }).code ?? (error instanceof Error ? error.name : 'unknown'));
