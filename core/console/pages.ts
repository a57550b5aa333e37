import { isRefusal, refuse, type Refusal } from '../../ports/index.ts';
import type { Desk } from '../flow.ts';
import { fieldsOf } from '../forms.ts';
import type { Kernel, Reply, Service } from '../kernel/service.ts';
import * as desk from './desk.ts';
import { mayOf, paged } from './frame.ts';
import type { May } from './shape.ts';

/** THE PAGES' DOORS: what each is given, and what is answered with it. What they show is made in desk.ts. */
type Answers = Service<'console'>['answers'];

const answered = async (kernel: Kernel, { operator }: Desk, shown: Promise<desk.Shown>): Promise<Reply> => {
  const found = await shown;
  if ('to' in found) return { status: 303, headers: { location: found.to } };
  if ('gone' in found) return refuse(404, 'not-found', found.gone);
  return 'part' in found ? { status: 200, html: String(found.part) } : paged(kernel, operator, found);
};

interface Posted extends Desk {
  readonly raw: Uint8Array;
}
/** With the fields of the form. */
async function acted(kernel: Kernel, request: Posted, work: (values: Readonly<Record<string, string>>, may: May) => Promise<desk.Shown>): Promise<Reply> {
  const fields: ReadonlyMap<string, string> | Refusal = fieldsOf(request.raw);
  return isRefusal(fields) ? fields : answered(kernel, request, work(Object.fromEntries(fields), mayOf(request.operator)));
}

type Pages = 'Home' | 'Now' | 'Orders' | 'Order' | 'Products' | 'Product' | 'Describe' | 'Receive' | 'Trouble' | 'Troubles' | 'TroubleOne' | 'Question' | 'Decide' | 'Pace' | 'Audit';

export const pages: Pick<Answers, `console${Pages}`> = {
  consoleHome: (kernel, request) => answered(kernel, request, desk.now(request.ask)),
  consoleNow: (kernel, request) => answered(kernel, request, desk.nowAgain(request.ask)),
  consolePace: (kernel, request) => answered(kernel, request, desk.pace(request.ask, request.query.span)),
  consoleAudit: (kernel, request) => answered(kernel, request, desk.audit(request.ask, request.query.run === 'yes', () => kernel.clock.now())),
  consoleOrders: (kernel, request) => answered(kernel, request, desk.orders(request.ask, request.query)),
  consoleOrder: (kernel, request) => answered(kernel, request, desk.order(request.ask, request.params.id)),
  consoleProducts: (kernel, request) => answered(kernel, request, desk.products(request.ask, request.query)),
  consoleProduct(kernel, request) {
    const { params, query, ask, operator } = request;
    const said = desk.productSaid(query.did, query.n);
    return answered(kernel, request, desk.product(ask, params.sku, kernel.ids.random(), mayOf(operator), said === undefined ? {} : { said }));
  },
  consoleDescribe: (kernel, request) => acted(kernel, request, (values, may) => desk.describe(request.ask, request.params.sku, values, kernel.ids.random(), may)),
  consoleReceive: (kernel, request) => acted(kernel, request, (values, may) => desk.receive(request.ask, request.params.sku, values, kernel.ids.random(), may)),
  consoleTrouble: (kernel, request) => answered(kernel, request, desk.trouble(request.ask)),
  consoleTroubles: (kernel, request) => answered(kernel, request, desk.troubleOf(request.ask, request.params.kind, request.query, mayOf(request.operator))),
  consoleTroubleOne: (kernel, request) => answered(kernel, request, desk.troubleOne(request.ask, request.params.kind, request.params.id, mayOf(request.operator))),
  consoleQuestion(kernel, request) {
    const { kind, do: act, id = '', cause = '' } = request.query;
    return answered(kernel, request, desk.decision(request.ask, { kind, do: act, id, cause }, mayOf(request.operator)));
  },
  consoleDecide: (kernel, request) => acted(kernel, request, (values, may) => desk.decide(request.ask, values, may)),
};
