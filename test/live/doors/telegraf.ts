import { gzipSync } from 'node:zlib';

/**
 * What outputs.influxdb_v2 of Telegraf 1.30 sends with its default inputs: no precision in the query, sorted tags, integers
 * with `i`, text fields among the numbers, gzip.
 */
export function telegrafBody(host: string, seconds: number): string {
  const time = `${seconds}000000000`;
  return `${[
    `system,host=${host} load1=0.42,load15=0.31,load5=0.38,n_cpus=4i,n_users=2i ${time}`,
    `system,host=${host} uptime=86461i ${time}`,
    `system,host=${host} uptime_format="1 day,  0:01" ${time}`,
    `cpu,cpu=cpu0,host=${host} usage_guest=0,usage_idle=96.98492462311558,usage_iowait=0.1005025125628,usage_system=1.0050251256281 ${time}`,
    `cpu,cpu=cpu-total,host=${host} usage_idle=97.10691823899371,usage_system=0.8805031446540881 ${time}`,
    `disk,device=nvme0n1p2,fstype=ext4,host=${host},mode=rw,path=/ free=391839330304i,inodes_free=30133046i,used_percent=17.36 ${time}`,
    `disk,device=C:\\ Drive,fstype=NTFS,host=${host},mode=rw,path=\\C: free=1i ${time}`,
    `mem,host=${host} available_percent=71.2,total=16667373568i,used=4034396160i ${time}`,
  ].join('\n')}\n`;
}

export const TELEGRAF_HEADERS = {
  'content-type': 'text/plain; charset=utf-8',
  'content-encoding': 'gzip',
  accept: 'application/json',
  'user-agent': 'Telegraf/1.30.0 Go/1.22.1',
};

export const telegrafGzip = (host: string, seconds: number) => gzipSync(telegrafBody(host, seconds));
