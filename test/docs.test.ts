import { expect } from 'chai';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Documents promise by naming files and commands: what they name has to be there. */

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const documents = ['README.md', ...readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md')).map((file) => `docs/${file}`)];
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

describe('The documents', () => {
  for (const document of documents) {
    it(`${document} names files that are there`, () => {
      const named = [...read(document).matchAll(/`((?:ports|core|adapters|handlers|bench|test|scripts|docs)\/[\w./-]*)`/g)].map(([, path = '']) => path);
      // Those that a reader is to make are not.
      const isNew = (path: string): boolean => read(document).includes(`\`${path}\`, new:`);
      expect(named.filter((path) => !existsSync(join(root, path)) && !isNew(path))).to.deep.equal([]);
    });

    it(`${document} names commands that there are`, () => {
      const named = [...read(document).matchAll(/npm (?:run )?([a-z:-]+)/g)].map(([, name = '']) => name).filter((name) => !['ci', 'install', 'audit'].includes(name));
      expect(named.filter((name) => !(name in scripts))).to.deep.equal([]);
    });

    it(`${document} links to what is there`, () => {
      const links = [...read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path = '']) => join(document, '..', path));
      expect(links.filter((path) => !existsSync(join(root, path)))).to.deep.equal([]);
    });
  }
});
