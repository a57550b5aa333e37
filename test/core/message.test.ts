import { expect } from 'chai';
import { checked } from '../../core/kernel/receive.ts';
import { say } from '../../core/kernel/model.ts';
import { Invalid, decoded } from '../../ports/index.ts';

const { message } = say('StockFreed', { skus: ['A'] }, { subject: 'A', sequence: 0, at: '2026-11-20T09:00:00.000Z' });

describe('A message', () => {
  it('that a stranger has nested deeper than any shape of ours is read, and does not fit its shape', () => {
    const nested = '['.repeat(7_000) + ']'.repeat(7_000);
    const deep = decoded(JSON.stringify({ ...message, data: null }).replace('"data":null', `"data":${nested}`));
    expect(() => checked(deep)).to.throw(Invalid);
  });
});
