export * from '../html.ts';
