/** Pieces of audio, each one array a channel, as one. */
export function joined(pieces: readonly Float32Array[][]): Float32Array[] {
  if (pieces.length < 2) return pieces[0] ?? [];
  return pieces[0].map((_, c) => {
    const out = new Float32Array(pieces.reduce((sum, piece) => sum + piece[c].length, 0));
    let at = 0;
    for (const piece of pieces) {
      out.set(piece[c], at);
      at += piece[c].length;
    }
    return out;
  });
}
