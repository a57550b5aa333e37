import type { Service } from '../kernel/service.ts';
import { PortError } from '../../ports/index.ts';
import { actsPage } from './acts.ts';
import { paged } from './frame.ts';
import { pages } from './pages.ts';
import { againPage, arrive, depart, enter, leave, signInPage } from './porch.ts';

/** THE CONSOLE: pages for people who look after the shop. It knows nothing but what the admin API says, and changes nothing but through it. */
export const consoleService: Service<'console'> = {
  name: 'console',
  hears: {},
  ticks: {},

  answers: {
    consoleSignIn: (kernel, request) => signInPage(kernel, request.query.next, request),
    consoleEnter: (kernel, request) => enter(kernel, request, request),
    consoleOidc: (kernel, request) => depart(kernel, request.query.next, request),
    consoleOidcBack: (kernel, request) => arrive(kernel, request.headers, request.query, request),
    consoleLeave: (kernel, { headers }) => leave(kernel, headers),
    consoleAgain: (kernel, { headers, operator }) => againPage(kernel, headers, operator),
    async consoleActs(kernel, { query, operator, ask }) {
      const { after, who, door } = query;
      const told = await ask('listActs', { query: { after, who: who || undefined, door: door || undefined, limit: 50 } });
      if (!told.ok) throw new PortError('unavailable', told.body.detail);
      return paged(kernel, operator, actsPage({ ...query }, told.body));
    },
    ...pages,
  },
};
