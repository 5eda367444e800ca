// dTable[v] += Σ of dOut[t] over the tokens t with ids[t] = v, in the order of t; for large tables.
// A workgroup per token: the first token with an id adds up all tokens with that id, the others leave. Comparing ids costs
// tokens² / 2 integer reads, which is little beside the rest of a language model's step.
//#include flat
struct Params {
  tokens: u32,
  columns: u32,
  vocabulary: u32,
  dTableOffset: u32,
  dTableStride: u32,
  dOutOffset: u32,
  dOutStride: u32,
  idsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> dTable: array<f32>;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> seen: atomic<u32>;
var<workgroup> batch: array<i32, 128>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = flatWorkgroup(workgroup, groups);
  if (token >= params.tokens) {
    return;
  }
  let id = ids[params.idsOffset + token];
  if (u32(id) >= params.vocabulary) {
    return;
  }
  var before = false;
  for (var t = lane; t < token; t += 128u) {
    before = before || ids[params.idsOffset + t] == id;
  }
  if (before) {
    atomicStore(&seen, 1u);
  }
  workgroupBarrier();
  if (workgroupUniformLoad(&seen) != 0u) {
    return;
  }
  for (var c0 = 0u; c0 < params.columns; c0 += 128u) {
    let column = c0 + lane;
    var sum = 0.0;
    for (var t0 = token; t0 < params.tokens; t0 += 128u) {
      workgroupBarrier();
      batch[lane] = select(-1, ids[params.idsOffset + min(t0 + lane, params.tokens - 1u)], t0 + lane < params.tokens);
      workgroupBarrier();
      if (column < params.columns) {
        for (var i = 0u; i < 128u; i++) {
          if (batch[i] == id) {
            sum += dOut[params.dOutOffset + (t0 + i) * params.dOutStride + column];
          }
        }
      }
    }
    if (column < params.columns) {
      dTable[params.dTableOffset + u32(id) * params.dTableStride + column] += sum;
    }
  }
}
