import type { Kernel } from '../kernel/service.ts';

/**
 * THE CONSOLE'S COOKIES. No script may read one. Under https they are called `__Host-…`, which browsers take from this host alone, over TLS, for all paths: so no neighbour
 * under the same domain can slip one in. Lax and not Strict, since a link to the console in an alarm is followed from elsewhere, and so is the way back from an identity
 * provider; what changes something is posted, with a token that no other site knows.
 */
export type CookieName = 'console' | 'console-way' | 'console-kept';

/** Browsers keep 4,096 bytes with name and attributes (RFC 6265, section 6.1). */
export const cookieCharactersMax = 3_900;

type Settings = Pick<Kernel, 'settings'>;
const isSecure = ({ settings }: Settings): boolean => settings.shopUrl.startsWith('https:');
const nameOf = (kernel: Settings, name: CookieName): string => (isSecure(kernel) ? `__Host-${name}` : name);

/** Of a `Cookie` header. */
export function readCookie(kernel: Settings, cookies: string | undefined, name: CookieName): string | undefined {
  const mark = `${nameOf(kernel, name)}=`;
  return (cookies ?? '').split(';').map((part) => part.trim()).find((part) => part.startsWith(mark))?.slice(mark.length);
}

/** The value of a `Set-Cookie` header. */
export function cookie(kernel: Settings, name: CookieName, value: string, seconds: number): string {
  return `${nameOf(kernel, name)}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${isSecure(kernel) ? '; Secure' : ''}`;
}

export const noCookie = (kernel: Settings, name: CookieName): string => cookie(kernel, name, '', 0);
