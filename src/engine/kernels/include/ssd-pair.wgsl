// Row and column tile of a pair: (0,0), (1,0), (1,1), (2,0), …
fn tilePair(pair: u32) -> vec2u {
  var row = 0u;
  var rest = pair;
  while (rest > row) {
    rest -= row + 1u;
    row++;
  }
  return vec2u(row, rest);
}
