import { expect } from 'chai';
import { checked } from '../../core/kernel/receive.ts';
import { say } from '../../core/kernel/model.ts';
import { Invalid, decode, encode, isMalformed, type Message } from '../../ports/index.ts';

const { message: freed } = say('StockFreed', { skus: ['A'] }, { subject: 'A', sequence: 0, at: '2026-11-20T09:00:00.000Z' });

function read(text: string): Message {
  const message = decode(text);
  if (isMalformed(message)) throw new Error(message.malformed);
  return message;
}

describe('A message that several services read', () => {
  it('cannot be changed by one of them, neither as it was read nor as it was checked', () => {
    const message = read(encode(freed));
    for (const each of [message, checked(message)]) {
      const { skus } = each.data as { skus: string[] };
      expect(() => skus.push('B')).to.throw(TypeError);
      expect(() => Object.assign(each, { id: 'another' })).to.throw(TypeError);
    }
    expect(read(encode(freed)).data).to.deep.equal({ skus: ['A'] });
  });

  it('is read anew when its text differs by one letter', () => {
    expect(read(encode(freed).replace('"A"]', '"B"]')).data).to.deep.equal({ skus: ['B'] });
  });

  it('is read even if a stranger nests it deeper than we follow', () => {
    const nested = '['.repeat(7_000) + ']'.repeat(7_000);
    const message = read(JSON.stringify({ ...freed, data: null }).replace('"data":null', `"data":${nested}`));
    expect(() => checked(message)).to.throw(Invalid);
  });

  it('is checked afresh as long as somebody can change it', () => {
    const message = { ...freed, data: { skus: ['A'] } };
    expect(checked(message).data).to.deep.equal({ skus: ['A'] });
    message.data.skus.length = 0;
    expect(() => checked(message)).to.throw(Invalid);
  });
});
