// $1Put(at, left, value): writes them; see quad.
fn $1Put(at: u32, left: u32, value: vec4f) {
//#if VECTOR
  $1[at / 4u] = value;
//#else
  for (var i = 0u; i < min(4u, left); i++) {
    $1[at + i] = value[i];
  }
//#end
}
