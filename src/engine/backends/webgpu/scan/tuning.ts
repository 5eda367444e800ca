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
};
