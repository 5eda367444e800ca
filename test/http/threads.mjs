/** Registers the TypeScript loader of test/service/support inside worker threads, which Node 20 starts without it. */
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (!isMainThread) register('../service/support/typescript.mjs', import.meta.url);
