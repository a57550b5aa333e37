import { isPortError, type BookingRequest, type Carrier } from '../../../ports/index.ts';
import { carrierCases, type CarrierFamily } from '../carrier.ts';
import { demo } from '../families.ts';
import { instead, type Mutant } from './mutant.ts';

/** `change` is called for every new world, so what it remembers lasts over its restarts. */
function mutated(name: string, change: () => (carrier: Carrier, restarted: boolean) => Partial<Carrier>, around: (family: CarrierFamily) => Partial<CarrierFamily> = () => ({})): Mutant {
  const family = demo('demo');
  let apply: ReturnType<typeof change>;
  const changed = (carrier: Carrier, restarted: boolean): Carrier => ({ ...carrier, ...apply(carrier, restarted) });
  const bad: CarrierFamily = {
    ...family,
    async open() {
      apply = change();
      return changed(await family.open(), false);
    },
    restart: async () => changed(await family.restart(), true),
    ...around(family),
  };
  return { name, port: 'carrier', cases: () => carrierCases(bad) };
}

const carrier = (name: string, change: (carrier: Carrier) => Partial<Carrier>): Mutant => mutated(name, () => (opened) => change(opened));
const says = (name: string, speak: (family: CarrierFamily) => NonNullable<CarrierFamily['speak']>): Mutant => mutated(name, () => () => ({}), (family) => ({ speak: speak(family) }));
const withId = (request: BookingRequest, orderId: string): BookingRequest => ({ ...request, orderId });

export const carrierMutants: readonly Mutant[] = [
  carrier('returns none for a failed find', (driver) => ({ find: (orderId) => instead(driver.find(orderId), 'none', 'unavailable', 'throttled') })),
  mutated('books every time it is asked', () => {
    let nth = 0;
    return (driver) => ({ book: (request) => driver.book(withId(request, nth++ === 0 ? request.orderId : `${request.orderId} ${nth}`)) });
  }),
  mutated('looks first and then books, and is overtaken', () => {
    let nth = 0;
    return (driver) => ({
      async book(request) {
        const found = await driver.find(request.orderId);
        if (typeof found === 'object') return found;
        await driver.find(request.orderId);
        const again = await driver.find(request.orderId);
        return driver.book(again === 'none' && nth++ === 0 ? request : withId(request, `${request.orderId} ${nth}`));
      },
    });
  }),
  carrier('makes the key of order and address', (driver) => ({ book: (request) => driver.book(withId(request, request.orderId + (request.shipTo.name === 'Eve' ? ' 2' : ''))) })),
  carrier('repeats a booking whose answer was lost, under another key', (driver) => ({
    book: (request) => driver.book(request).catch(async (error: unknown) => {
      if (isPortError(error, 'unavailable')) await driver.book(withId(request, `${request.orderId} again`));
      throw error;
    }),
  })),
  carrier('says throttled, and has booked', (driver) => ({
    book: (request) => driver.book(request).catch(async (error: unknown) => {
      if (isPortError(error, 'throttled')) await driver.book(request);
      throw error;
    }),
  })),
  carrier('takes a lost answer for a refusal', (driver) => ({
    book: (request) => driver.book(request).catch((error: unknown) => Promise.reject(isPortError(error, 'unavailable') ? new Error('ECONNRESET') : error)),
  })),
  carrier('books by being asked', (driver) => ({
    find: async (orderId) => {
      const found = await driver.find(orderId);
      if (found === 'none' && orderId === 'order2') await driver.book({ orderId, shipTo: { name: '', line1: '', city: '', postcode: '', country: 'GB' }, items: [] });
      return found;
    },
  })),
  carrier('takes no notice of case in a key', (driver) => ({ book: (request) => driver.book(withId(request, request.orderId.toLowerCase())), find: (orderId) => driver.find(orderId.toLowerCase()) })),
  carrier('cuts a key', (driver) => ({ book: (request) => driver.book(withId(request, request.orderId.slice(0, 6))), find: (orderId) => driver.find(orderId.slice(0, 6)) })),
  carrier('names itself in capitals', (driver) => ({ book: async (request) => ({ ...(await driver.book(request)), carrier: 'DEMO' }) })),
  carrier('makes the link of the order id', (driver) => ({ book: async (request) => ({ ...(await driver.book(request)), trackingUrl: `https://carrier.example/${request.orderId}` }) })),
  mutated('forgets on restart what was booked', () => (driver, restarted) => ({ find: async (orderId) => (restarted ? 'none' : driver.find(orderId)) })),
  carrier('never knows', () => ({ find: async () => 'unknown' })),
  says('gives a notice up that was not taken', (family) => {
    const tried = new Set<string>();
    return async (status) => (await family.speak!(status)).filter(({ body }) => {
      const text = Buffer.from(body).toString();
      const fresh = !tried.has(text) || status === 204;
      tried.add(text);
      return fresh;
    });
  }),
  says('says a notice again that was taken', (family) => {
    let last: Awaited<ReturnType<NonNullable<CarrierFamily['speak']>>> = [];
    return async (status) => {
      const said = await family.speak!(status);
      const again = [...last, ...said];
      last = said;
      return again;
    };
  }),
  says('takes a redirection for an answer', (family) => (status) => family.speak!(status === 301 ? 200 : status)),
  says('takes any answer for a taken notice', (family) => () => family.speak!(200)),
  says('signs what it does not send', (family) => async (status) => (await family.speak!(status)).map(({ headers, body }) => ({ headers, body: Buffer.from(`${Buffer.from(body).toString()}\n`) }))),
];
