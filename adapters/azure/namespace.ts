import type { TokenCredential } from '@azure/core-auth';
import { PortError } from '../../ports/index.ts';

/** How a namespace of Service Bus or Event Hubs is reached: by its name with a credential, or, for local servers, by a connection string. */
export type Namespace =
  | { readonly connectionString: string }
  | { readonly fullyQualifiedNamespace: string; readonly credential: TokenCredential };

/**
 * The SDKs try nothing a second time: after a lost answer they could not know whether they repeat. Whoever called does know what a repetition means.
 * Their own limit is for one answer of the broker.
 */
export const once = (patienceSeconds: number) => ({ maxRetries: 0, timeoutInMs: patienceSeconds * 1_000 });

/** Some waits inside the SDKs have a limit of their own, of a minute or none: so every call gets one from outside as well, in real time, since sockets live in it. */
export function answered<Answer>(work: Promise<Answer>, patienceSeconds: number, what: string): Promise<Answer> {
  // By hand, because it stands around every message.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new PortError('unavailable', `${what}: no answer within ${patienceSeconds} s`)), patienceSeconds * 1_000);
    work.then(
      (answer) => {
        clearTimeout(timer);
        resolve(answer);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Something that others wait for: a ring wakes all who wait at that moment. */
export function createBell() {
  const waiting = new Set<() => void>();
  return {
    ring(): void {
      for (const wake of waiting) wake();
    },
    /** Resolves at the next ring, or when the signal is aborted. */
    rung(signal: AbortSignal): Promise<void> {
      return new Promise((resolve) => {
        const wake = (): void => {
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        if (signal.aborted) return resolve();
        waiting.add(wake);
        signal.addEventListener('abort', wake);
      });
    },
  };
}

export type Bell = ReturnType<typeof createBell>;
