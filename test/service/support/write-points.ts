/** Helper process: writes batch after batch of points and says which ones were acknowledged, until it is killed. */
import { Database } from '../../../src/store/database.js';
import { PointWriter } from '../../../src/store/points.js';

const [url, seriesId, from] = process.argv.slice(2);
const database = await Database.open({ url: url ?? '', poolSize: 2 });
const writer = new PointWriter(database);
for (let batch = Number(from); ; batch++) {
  const times = Float64Array.from({ length: 500 }, (_, i) => batch * 500 + i);
  const ids = new BigInt64Array(500).fill(BigInt(seriesId ?? 0));
  await writer.write('ann', { seriesIds: ids, times, values: times }, { stream: 'crash', sequence: BigInt(batch) });
  console.log(JSON.stringify({ batch }));
}
