// Numbers workgroups of a dispatch whose total was folded over x, y and z.
fn flatWorkgroup(id: vec3<u32>, count: vec3<u32>) -> u32 {
  return id.x + count.x * (id.y + count.y * id.z);
}
