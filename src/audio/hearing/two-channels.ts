import { AdderError } from '../../platform/errors.js';

/**
 * A turn outlook hears one side a channel.
 *
 * @param field what the caller can change
 * @throws AdderError `BAD_CHANNELS` naming the field
 */
export function needTwoChannels(channels: number, field: string, fix: string): void {
  if (channels === 2) return;
  throw new AdderError({
    code: 'BAD_CHANNELS',
    message: `a turn outlook needs two channels, one for each side, not ${channels}`,
    where: { field },
    fix: `${fix}, with one side in each channel, or leave turns out`,
  });
}
