/**
 * HTML for pages and letters. Whatever is put into `html\`…\`` is escaped, unless it is itself `Html`; there is no other way to say "already safe".
 * Lists are joined; null, undefined and false are nothing. Attributes are always quoted by whoever writes the template.
 */
export class Html {
  readonly #text: string;
  constructor(key: symbol, text: string) {
    if (key !== makes) throw new TypeError('Html is made by html`…` alone');
    this.#text = text;
  }
  toString(): string {
    return this.#text;
  }
}
const makes = Symbol('html');

export type Child = Html | string | number | null | undefined | false | readonly Child[];

export function html(strings: TemplateStringsArray, ...children: readonly Child[]): Html {
  let text = strings[0]!;
  for (let i = 0; i < children.length; i++) text += rendered(children[i]) + strings[i + 1]!;
  return new Html(makes, text);
}

function rendered(child: Child): string {
  if (child === null || child === undefined || child === false) return '';
  if (typeof child === 'string') return escaped(child);
  if (child instanceof Html) return child.toString();
  if (typeof child === 'number') return String(child);
  let text = '';
  for (const each of child) text += rendered(each);
  return text;
}

const special = /[&<>"']/;
const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escaped(text: string): string {
  return special.test(text) ? text.replace(/[&<>"']/g, (c) => entities[c]!) : text;
}

/** A link that comes from outside: only http and https, otherwise nothing. Escaping alone does not stop `javascript:`. */
export function url(address: string | undefined): string | undefined {
  return address !== undefined && /^https?:\/\/[^\s]+$/i.test(address) ? address : undefined;
}
