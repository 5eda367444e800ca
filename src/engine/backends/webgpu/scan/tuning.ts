/**
 * How the scans divide their work. Defaults were chosen by calculation and measurement (docs/kernels.md); benchmarks
 * change them to compare. A change between a forward call and its backward makes the checkpoints unreadable.
 */
export const tuning = {
  selective: {
    /** Channels of a workgroup, forward. Four lanes share each where N = 16. */
    channels: 32,
    /** Channels of a workgroup, backward. */
    backwardChannels: 32,
    /** Most lanes of a channel up to 32 states: fewer hold more states each. */
    lanes: 4,
    /** Tokens of a tile, and between checkpoints, where a lane holds one vec4 of states. */
    steps: 16,
    /** The same on a software adapter. */
    softwareSteps: 4,
    /** Invocations below which the sequence is cut into segments, and to which it is then cut. */
    enoughInvocations: 24_576,
    targetInvocations: 65_536,
    /** Shortest segment in tokens. */
    shortestSegment: 128,
  },
  ssd: {
    /** Tokens of a chunk where a sequence has more than one. Shorter sequences are one chunk of their own size, up to 128. */
    chunk: 128,
    /** Longest side of a tile. */
    tile: 64,
    /** Terms of a matrix product staged at a time. */
    slab: 16,
    /** The same on subgroup matrices, a multiple of 16. */
    matrixSlab: 32,
    /** Let plain code play subgroup matrices where there are none: for tests of the f16 path. */
    emulateMatrix: false,
    /** Workgroups of ssd-states from which on it walks the chunks itself; with fewer every chunk gets its own. */
    serialWorkgroups: 192,
    /** Workgroups of ssd-dscores to aim for by dividing the heads of a group. */
    scoreWorkgroups: 1024,
    /** The same sizes on a software adapter, which compiles long kernels for many seconds. */
    software: { chunk: 32, tile: 16, slab: 4 },
  },
};
