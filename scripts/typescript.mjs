// Lets Node run TypeScript: `node --import ./scripts/typescript.mjs FILE`. It is `tsx/esm`, and a quicker start: through its hooks every module takes a way over another
// thread, so packages of very many modules, which need no translation, are loaded before the hooks are there; and newer Nodes keep what they have compiled.
import module from 'node:module';

module.enableCompileCache?.();
await Promise.all(['inversify', 'zod', 'pino', 'find-my-way', '@middy/core'].map((name) => import(name)));
await import('tsx/esm');
