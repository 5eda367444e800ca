import { describe, expect, test } from '@jest/globals';
import { completeSource, defineSource, f32 } from './source.js';

const lines = (name: string, text: string, constants = {}, aliases = {}) => {
  defineSource(name, text);
  return completeSource(name, constants, aliases);
};

describe('kernel source', () => {
  test('constants come first, after directives, with their types', () => {
    const { text } = lines('constants', 'requires x;\nfn main() {}', {
      N: 4,
      SCALE: f32(0.5),
      ON: true,
      T: 'vec4<f16>',
    });
    expect(text.split('\n')).toEqual([
      'enable f16;',
      'requires x;',
      'const N: u32 = 4u;',
      'const SCALE: f32 = 0.5f;',
      'const ON: bool = true;',
      'alias T = vec4<f16>;',
      'fn main() {}',
    ]);
  });

  test('repeat unrolls, nested in either order, with bounds from constants', () => {
    const inner = '//#repeat i 0 2\n//#repeat j 1 N\ns$i$j = $i * $ju;\n//#end\n//#end';
    expect(lines('repeat', inner.replace('$ju', '$j'), { N: 3 }).text).toContain(
      's01 = 0 * 1;\ns02 = 0 * 2;\ns11 = 1 * 1;',
    );
    const turned = '//#repeat j 0 2\n//#repeat i 0 2\ns$i$j\n//#end\n//#end';
    expect(lines('turned', turned).text).toBe('s00\ns10\ns01\ns11');
  });

  test('if takes one side, else the other, nested', () => {
    const text = '//#if A\na\n//#if B\nab\n//#else\nanb\n//#end\n//#else\nna\n//#end\nz';
    const chosen = (A: boolean, B: boolean) => lines('if', text, { A, B }).text.split('\n').slice(2);
    expect(chosen(true, true)).toEqual(['a', 'ab', 'z']);
    expect(chosen(true, false)).toEqual(['a', 'anb', 'z']);
    expect(chosen(false, true)).toEqual(['na', 'z']);
    expect(() => lines('open', '//#if A\nx', { A: true })).toThrow(/open.wgsl:1.*#end/);
    expect(() => lines('unknown', '//#if C\n//#end', {})).toThrow(/C is no constant/);
  });

  test('lines are traced through includes and loops', () => {
    defineSource('include/part', 'one\ntwo');
    const { text, origin } = lines('traced', '//#include part\nhere\n//#repeat i 0 2\nloop\n//#end');
    expect(text).toBe('one\ntwo\nhere\nloop\nloop');
    expect(origin(2)).toMatchObject({ file: 'include/part.wgsl', line: 2 });
    expect(origin(3)).toMatchObject({ file: 'traced.wgsl', line: 2 });
    expect(origin(5)).toMatchObject({ file: 'traced.wgsl', line: 4 });
  });

  test('bindings and params are read by name; an alias joins two bindings for writing', () => {
    const text = [
      'struct Params {',
      '  size: u32, // elements',
      '  eps: f32,',
      '}',
      '@group(0) @binding(0) var<storage, read> x: array<f32>;',
      '@group(0) @binding(1) var<storage, read_write> out: array<f32>;',
      '@group(0) @binding(2) var<uniform> params: Params;',
      'fn f() { out[0] = x[params.xOffset]; }',
    ].join('\n');
    const plain = lines('named', text);
    expect(plain.bindings).toEqual([
      { name: 'x', kind: 'read' },
      { name: 'out', kind: 'read_write' },
    ]);
    expect([plain.uniform, plain.params]).toEqual([
      2,
      [
        { name: 'size', kind: 'u32' },
        { name: 'eps', kind: 'f32' },
      ],
    ]);
    const joined = lines('named', text, {}, { out: 'x' });
    expect([joined.bindings, joined.uniform]).toEqual([[{ name: 'x', kind: 'read_write' }], 1]);
    expect(joined.text).toContain('x[0] = x[params.xOffset]');
    expect(joined.text).toContain('@binding(0) var<storage, read_write> x');
  });
});
