/** THE WORDS OF THE CONSOLE: who looks, who may do what, and what is said at its door. It says no event of its own, and hears none. */

/** `viewer` sees all; `operator` changes things, too. */
export type Role = 'viewer' | 'operator';

/** A person who has signed in. */
export interface Operator {
  /** As the identity provider calls him; `token` is whoever has the admin token. */
  readonly who: string;
  readonly role: Role;
  /** The identity provider's own name for him, which never goes to another person. */
  readonly subject?: string;
  /** In every form as the hidden field `csrf`. */
  readonly csrf: string;
}

/** RFC 9457, as the API says it. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

/** What the doors have through which one comes in. */
export interface Porch {
  /** Whether this is the admin token. In constant time; wrong ones are counted by address, together with those at the API. */
  isToken(token: string): 'right' | 'wrong' | { readonly waitSeconds: number };
  /** Of the admin token as it is now: sessions that were given for another one have ended. */
  readonly stamp: string;
  /** Absent: none is configured. It is loaded when it is first used. */
  readonly provider?: () => Promise<Provider>;
}

/** What has to be the same on the way out and on the way back. */
export interface Way {
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  /** Of PKCE (RFC 7636). */
  readonly verifier: string;
}

/** An identity provider that speaks OpenID Connect. Throws `unavailable` when it cannot be reached. */
export interface Provider {
  /** The address to which the browser is sent. */
  leave(way: Way): Promise<string>;
  /** With the query with which the browser has come back. What does not check out is `refused`, with a word for the log and none for the page. */
  arrive(way: Way, query: Readonly<Record<string, string | undefined>>): Promise<{ readonly subject: string; readonly name: string; readonly roles: readonly string[] } | { readonly refused: string }>;
}
