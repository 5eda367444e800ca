/** Helper process: the API as `src/main.ts` runs it, from source, worker threads included. */
process.execArgv.push('--import', new URL('./threads.mjs', import.meta.url).href);
await import('../../src/main.js');
