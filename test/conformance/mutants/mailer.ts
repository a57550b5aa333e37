import type { MailerDriver } from '../../../ports/index.ts';
import { memoryMailer } from '../families.ts';
import { mailerCases, type MailerFamily } from '../mailer.ts';
import { instead, type Mutant } from './mutant.ts';

function mailer(name: string, change: (driver: MailerDriver, restarted: boolean) => Partial<MailerDriver>): Mutant {
  const family = memoryMailer();
  const changed = (driver: MailerDriver, restarted: boolean) => ({ ...driver, ...change(driver, restarted) });
  const mutated: MailerFamily = { ...family, open: async () => changed(await family.open(), false), restart: async () => changed(await family.restart(), true) };
  return { name, port: 'mailer', cases: () => mailerCases(mutated) };
}

export const mailerMutants: readonly Mutant[] = [
  mailer('returns notSent for a failure', (driver) => ({ ask: (key) => instead(driver.ask(key), 'notSent', 'unavailable') })),
  mailer('takes a letter for sent that it never took', () => ({ ask: async () => 'sent' })),
  mailer('sends a key again', (driver) => {
    let nth = 0;
    return { send: (letter) => driver.send({ ...letter, key: `${letter.key.slice(0, 190)}.${nth++}` }) };
  }),
  mailer('forgets on restart what it has sent', (driver, restarted) => ({ ask: async (key) => (restarted ? 'notSent' : driver.ask(key)) })),
  mailer('takes no notice of case in a key', (driver) => ({ send: (letter) => driver.send({ ...letter, key: letter.key.toLowerCase() }), ask: (key) => driver.ask(key.toLowerCase()) })),
  mailer('cuts a long key', (driver) => ({ send: (letter) => driver.send({ ...letter, key: letter.key.slice(0, 64) }), ask: (key) => driver.ask(key.slice(0, 64)) })),
  mailer('drops a letter when it is busy', (driver) => {
    let busy = 0;
    return {
      async send(letter) {
        if (busy++ < 8) await driver.send(letter);
        await new Promise((resolve) => setImmediate(resolve));
        busy--;
      },
    };
  }),
  mailer('takes what it cannot spell for a question mark', (driver) => ({ send: (letter) => driver.send({ ...letter, subject: letter.subject.replace(/[^\u0020-\u00ff]/gu, '?') }) })),
  mailer('says unavailable, and has sent the letter twice', (driver) => ({
    send: (letter) => driver.send(letter).catch((error: unknown) => driver.send({ ...letter, key: `${letter.key}.again` }).then(() => Promise.reject(error))),
  })),
  mailer('acknowledges a letter that failed', (driver) => ({ send: (letter) => instead(driver.send(letter), undefined, 'unavailable', 'throttled') })),
];
