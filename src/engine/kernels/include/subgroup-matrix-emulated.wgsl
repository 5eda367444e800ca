// subgroup-matrix.wgsl without matrix units. LANES threads play a subgroup: an operand is only the place it was loaded
// from, and thread `lane` keeps elements lane·OWN … lane·OWN + OWN − 1 of a sum.
//#if HALVES
enable f16;
//#end
alias Left = u32;
alias Right = u32;
const OWN = 256u / LANES;
alias Sum = array<f32, OWN>;
var<private> lane: u32;
// Always 16 and OWN, but not to a compiler, which would unroll the loops into very long code.
var<private> sixteen: u32;
var<private> own: u32;

fn enterSubgroup(number: u32) {
  lane = number;
  sixteen = 16u + params.flags / 256u;
  own = OWN + params.flags / 256u;
}

// Half `index` of a row of halves that begins at tiles[at].
fn half(at: u32, index: u32) -> f32 {
//#if HALVES
  return f32(tiles[at * 8u + index]);
//#else
  return unpack2x16float(tiles[at + index / 8u][index % 8u / 2u])[index % 2u];
//#end
}

fn loadLeft(at: u32) -> Left {
  return at;
}

fn loadRight(at: u32) -> Right {
  return at;
}

fn multiplyAdd(left: Left, right: Right, sum: Sum) -> Sum {
  var result = sum;
  for (var i = 0u; i < own; i++) {
    let row = (lane * OWN + i) / 16u;
    let column = (lane * OWN + i) % 16u;
    for (var k = 0u; k < sixteen; k++) {
//#if TRANS_A
      let l = half(left + k * PITCH_A, row);
//#else
      let l = half(left + row * PITCH_A, k);
//#end
//#if TRANS_B
      let r = half(right + column * PITCH_B, k);
//#else
      let r = half(right + k * PITCH_B, column);
//#end
      result[i] += l * r;
    }
  }
  return result;
}

fn storeStrip(at: u32, sum: Sum) {
  for (var i = 0u; i < own; i++) {
    let e = lane * OWN + i;
    let place = at + e / 16u * STRIP_WIDTH + e % 16u / 4u;
//#if HALVES
    strips[place][e % 4u] = bitcast<u32>(sum[i]);
//#else
    tiles[place][e % 4u] = bitcast<u32>(sum[i]);
//#end
  }
}

//#if DIRECT
fn storeOut(at: u32, sum: Sum, pitch: u32) {
  for (var i = 0u; i < own; i++) {
    let e = lane * OWN + i;
    let place = at + e / 16u * pitch + e % 16u;
//#if VEC_OUT
    out[place / 4u][place % 4u] = sum[i];
//#else
    out[place] = sum[i];
//#end
  }
}
//#end
