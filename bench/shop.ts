import { mkdir } from 'node:fs/promises';
import { openShop, type Shop } from '../handlers/container.ts';
import { services } from '../handlers/index.ts';
import { goOn } from '../handlers/local.ts';
import { startPump, type Pump } from '../handlers/pump.ts';
import { parseSettings, type ShopSettings } from '../handlers/settings.ts';
import { shipping } from '../core/shipping/index.ts';
import { isRefusal } from '../ports/index.ts';

/** The shop without a web server: what the replay and the benchmark drive, through the same handlers as HTTP. */
export interface Workshop extends Shop {
  readonly pump: Pump;
  /** Notices that the shop has taken. */
  delivered(): number;
  stop(): Promise<void>;
}

async function settingsFor(adapters: string, dataDir: string, logLevel: string): Promise<ShopSettings> {
  if (adapters !== 'memory') await mkdir(dataDir, { recursive: true });
  return parseSettings({
    ADAPTERS: adapters, DATA_DIR: dataDir, DEMO_CARRIER_SECRET: 'a secret between two on one machine', DEMO_CARRIER_DELIVERS_AFTER_SECONDS: '0.001', LOG_LEVEL: process.env['LOG_LEVEL'] ?? logLevel,
  });
}

/** The shop without anybody who works in it: for those who bring their own. They make mistakes on purpose, so nobody is told of them. */
export async function openEmptyShop(adapters: string, dataDir: string): Promise<Shop> {
  return openShop(await settingsFor(adapters, dataDir, 'silent'), { post: async () => 503 });
}

export async function openWorkshop(adapters: string, dataDir: string): Promise<Workshop> {
  const settings = await settingsFor(adapters, dataDir, 'error');
  const openedAt = Date.now();
  let delivered = 0;
  const shop: Shop = await openShop(settings, {
    async post(carrier, headers, raw) {
      const reply = await shipping.answers.takeNotice(shop.kernel, { params: { carrier }, query: undefined, body: undefined, idempotencyKey: undefined, headers, raw });
      if (!isRefusal(reply)) delivered++;
      return reply.status;
    },
  });
  const pump = startPump(shop.kernel, services, {
    everySeconds: { pollProducts: 2, sweepBookings: 10, sweepClaims: 30 },
    timers: [{ name: 'demoCarrier', everySeconds: 0.05, tick: () => shop.carrier.tick() }, ...shop.chores],
  });
  void goOn(shop, openedAt);
  return {
    ...shop,
    pump,
    delivered: () => delivered,
    async stop() {
      await pump.stop();
      await shop.close();
    },
  };
}
