/** Live series are divided into so many partitions, as the migration made rows for; each has one owner at a time. */
export const PARTITIONS = 16;

export const partitionOf = (seriesId: bigint | number): number => Number(BigInt(seriesId) % BigInt(PARTITIONS));
