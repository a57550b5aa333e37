import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Kernel } from '../kernel/service.ts';

/** SEALS: what a browser keeps for us, unread and unchanged, for a time. The key is the deployment's secret, so every process of it can open what another one has sealed. */

const keyOf = ({ secret }: Pick<Kernel, 'secret'>): Buffer => createHmac('sha256', secret).update('seals of the console').digest();
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
const ivBytes = 12;
const tagBytes = 16;

/** In constant time: digests have one length, and how far they agree says nothing about the secrets. */
export const same = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b));

/** A name for something that nobody without the deployment's secret can make. */
export const signed = ({ secret }: Pick<Kernel, 'secret'>, purpose: string, text: string): string => createHmac('sha256', secret).update(`${purpose}\n${text}`).digest('base64url');

/** Opens for so many seconds, and for this purpose alone. */
export function seal(kernel: Pick<Kernel, 'secret' | 'clock' | 'ids'>, purpose: string, seconds: number, value: unknown): string {
  const iv = digest(kernel.ids.random()).subarray(0, ivBytes);
  const cipher = createCipheriv('aes-256-gcm', keyOf(kernel), iv).setAAD(Buffer.from(purpose));
  const hidden = [cipher.update(JSON.stringify([kernel.clock.now() + seconds * 1_000, value])), cipher.final()];
  return Buffer.concat([iv, cipher.getAuthTag(), ...hidden]).toString('base64url');
}

/** What was sealed; nothing, if it was not we who did it, not for this, or too long ago. */
export function unseal(kernel: Pick<Kernel, 'secret' | 'clock'>, purpose: string, text: string): unknown {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length < ivBytes + tagBytes) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', keyOf(kernel), bytes.subarray(0, ivBytes), { authTagLength: tagBytes }).setAAD(Buffer.from(purpose));
  decipher.setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
  try {
    const open = Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]).toString();
    const [until, value] = JSON.parse(open) as [number, unknown];
    return kernel.clock.now() < until ? value : undefined;
  } catch {
    return undefined;
  }
}
