/**
 * What both sides of the WebAssembly boundary agree on. The file is valid AssemblyScript and TypeScript: the kernels
 * dispatch on `Op`, the backend writes it into commands.
 *
 * A command is COMMAND_BYTES long: four words (op, units, grain, parallel), then the kernel's arguments, a word each
 * (i32, f32, a byte address or a byte stride). A kernel computes units [from, to) and nothing it writes is read by
 * another unit, so any split over threads gives the same bits. Each kernel's header names its arguments in order.
 */
export enum Op {
  Fill,
  Copy,
  Unary,
  Binary,
  Swiglu,
  Embedding,
  RmsNorm,
  GatedRmsNorm,
  ColumnSum,
  SumSquares,
  QuantileMixture,
  Conv,
  ConvState,
  ConvStep,
  SelectiveScan,
  Ssd,
  SsdChunked,
  SsdStep,
  Attention,
  AttentionCache,
  AttentionCount,
  Gemv,
  PackWeights,
  Gemm,
}

/** Functions of `Op.Unary`. */
export enum UnaryOp {
  Silu,
  Softplus,
  Exp,
  Asinh,
  Sigmoid,
}
