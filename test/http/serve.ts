/** Helper process: the whole service as `npm start` runs it, from source, worker threads included. */
process.execArgv.push('--import', new URL('./threads.mjs', import.meta.url).href);
await import('../../src/start.js');
