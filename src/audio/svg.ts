/** The few shapes that pictures of recordings are made of. */

const INK = '#1b2733';
export const FAINT = '#5b6b7a';
const FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"';

export function line(x0: number, y0: number, x1: number, y1: number, colour: string, dash?: string): string {
  return `<path d="M${n(x0)} ${n(y0)}L${n(x1)} ${n(y1)}" stroke="${colour}" stroke-width="1"${dash ? ` stroke-dasharray="${dash}"` : ''}/>`;
}

export function text(
  x: number,
  y: number,
  value: string,
  style: { anchor?: 'start' | 'middle' | 'end'; size?: number; bold?: boolean; colour?: string } = {},
): string {
  const { anchor = 'start', size = 12, bold = false } = style;
  const colour = style.colour ?? (bold ? INK : FAINT);
  return `<text x="${n(x)}" y="${n(y)}" ${FONT} font-size="${size}" font-weight="${bold ? 'bold' : 'normal'}" text-anchor="${anchor}" fill="${colour}">${escaped(value)}</text>`;
}

export function escaped(value: string): string {
  // XML 1.0 has no place for control characters.
  return value.replace(/\p{Cc}/gu, ' ').replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A coordinate with at most one decimal. */
export function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** Pictures of equal widths, one under the other, as one. */
export function stacked(pictures: readonly string[]): string {
  let top = 0;
  let wide = 0;
  const parts = pictures.map((picture) => {
    const [, width, height] = /^<svg [^>]*width="(\d+)" height="(\d+)"/.exec(picture)!;
    const placed = picture.replace('<svg ', `<svg y="${top}" `);
    top += Number(height);
    wide = Math.max(wide, Number(width));
    return placed;
  });
  const size = `width="${wide}" height="${top}" viewBox="0 0 ${wide} ${top}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">\n${parts.join('')}</svg>\n`;
}
