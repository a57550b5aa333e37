export const assets: ReadonlyMap<string, { type: string; body: string }> = new Map();
