/** Helper process: holds an inference process, says its id, and waits to be killed. */
import { InferenceClient } from '../../../src/jobs/inference/client.js';
import { loadConfig } from '../../../src/platform/config.js';

const client = new InferenceClient({ config: loadConfig({ ADDER_MODEL: 'naive', ADDER_BACKEND: 'wasm' }) });
await client.describe();
console.log(JSON.stringify({ pid: client.pid }));
setInterval(() => {}, 1000);
