/** Helper process: the API alone, as `npm run start:api` runs it, from source, worker threads included. */
process.execArgv.push('--import', new URL('../../http/threads.mjs', import.meta.url).href);
await import('../../../src/main.js');
