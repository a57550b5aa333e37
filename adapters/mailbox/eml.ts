import { must, type Letter } from '../../ports/index.ts';

/**
 * A letter as an RFC 5322 message: multipart/alternative, text and HTML in UTF-8, lines that end in CRLF, ASCII all through (but for an address that is not).
 *
 * Written by hand, because a general composer costs twenty times as much, and because one letter must be the same bytes every time: whoever sends it again
 * sends the same message with the same Message-ID. Sources: RFC 5322, RFC 2045 to 2047.
 */
export interface EmlOptions {
  readonly from: { readonly name: string; readonly address: string };
  /** The right-hand side of the Message-ID; `anyport.local` unless told. */
  readonly domain?: string;
}

/** The letter must have passed `openMailer`; a control character in a header is a bug and thrown as one, never written. */
export function eml(letter: Letter, { from, domain = 'anyport.local' }: EmlOptions): Buffer {
  for (const verbatim of [letter.key, letter.to.address, from.address, domain]) must(!control.test(verbatim), 'no control character in a header');
  const text = part('text/plain', letter.text);
  const html = part('text/html', letter.html);
  const boundary = boundaryFor(letter.key, text, html);
  const head = [
    `Message-ID: <${letter.key}@${domain}>`,
    `Date: ${dateOf(letter.date)}`,
    `From: ${mailboxOf(from)}`,
    `To: ${mailboxOf(letter.to)}`,
    `Subject: ${phrase(letter.subject, (subject) => subject)}`,
    'MIME-Version: 1.0',
    `Content-Type: multipart/alternative;\r\n boundary="${boundary}"`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n--${boundary}\r\n${text}\r\n--${boundary}\r\n${html}\r\n--${boundary}--\r\n`);
}

/** Names and subjects are not verbatim: there a control character makes an encoded word. */
const control = /[\u0000-\u001f\u007f]/;

function dateOf(date: string): string {
  const time = new Date(date);
  must(!Number.isNaN(time.getTime()), 'a letter has a date');
  return time.toUTCString().replace('GMT', '+0000');
}

/** A name and its address as a header has them, folded at `\r\n `. */
export const mailboxOf = ({ name, address }: Letter['to']): string => (name === '' ? `<${address}>` : `${phrase(name, quoted)}\r\n <${address}>`);

const quoted = (name: string): string => `"${name.replace(/["\\]/g, '\\$&')}"`;

/** Text that reads as itself: printable ASCII without doubled or outer spaces (folding may eat them), nothing like an encoded word, not too long for a line. */
const plain = /^(?!.*(?:=\?| {2}))[\x21-\x7e](?:[\x20-\x7e]{0,58}[\x21-\x7e])?$/;

/** Text of a header: as it is where it can be, else as encoded words of RFC 2047. */
function phrase(text: string, asIs: (text: string) => string): string {
  return text === '' || plain.test(text) ? asIs(text) : encodedWords(text);
}

/** A line with an encoded word has 76 characters at most: 9 for `Subject: `, 12 for the word's frame, and 52 of base64 for 39 bytes. */
const wordBytesMax = 39;

/** A character is never split between two words, as section 5 of RFC 2047 demands. */
function encodedWords(text: string): string {
  const words: string[] = [];
  let word = '';
  let bytes = 0;
  for (const character of text) {
    const size = Buffer.byteLength(character);
    if (bytes + size > wordBytesMax) {
      words.push(word);
      word = '';
      bytes = 0;
    }
    word += character;
    bytes += size;
  }
  words.push(word);
  return words.map((each) => `=?UTF-8?B?${Buffer.from(each).toString('base64')}?=`).join('\r\n ');
}

/** Readable and small where the text is ASCII in lines that every server takes, else base64. */
function part(type: string, content: string): string {
  const text = content.replace(/\r\n|\r|\n/g, '\r\n');
  const readable = !beyondAscii.test(text) && text.split('\r\n').every((line) => line.length <= lineCharactersMax);
  const body = readable ? text : Buffer.from(text).toString('base64').replace(/.{76}(?=.)/g, '$&\r\n');
  return `Content-Type: ${type}; charset=utf-8\r\nContent-Transfer-Encoding: ${readable ? '7bit' : 'base64'}\r\n\r\n${body}`;
}
const beyondAscii = /[^\t\r\n\x20-\x7e]/;
/** RFC 5322, section 2.1.1. */
const lineCharactersMax = 998;

/** The same every time, and in neither part: a text that happens to have it gets another. A boundary has 70 characters at most. */
function boundaryFor(letterKey: string, ...parts: readonly string[]): string {
  for (let nth = 0; ; nth++) {
    const boundary = `=_${nth}_${letterKey.slice(0, 50)}`;
    if (!parts.some((each) => each.includes(boundary))) return boundary;
  }
}
