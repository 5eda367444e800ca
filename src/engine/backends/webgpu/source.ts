/**
 * WGSL text: read from src/engine/kernels, completed with constants and shared snippets, and understood as far as the
 * recorder needs it (bindings and uniform fields by name).
 *
 * Four additions to WGSL, all comments to other tools:
 *   //#include name WORD …    the text of kernels/include/name.wgsl, `$1`, `$2` … in it being the words that follow
 *   //#repeat i 0 COUNT … //#end   the lines between, once for i = 0 … COUNT − 1, with `$i` replaced by the number;
 *                             bounds are numbers or constants. For registers that must not be indexed.
 *   //#if NAME … //#else … //#end   one side, by a boolean constant: for what `if` cannot choose, such as types
 *   constants                 become `const NAME: type = value;` lines at the top, or `alias NAME = f16;` for a type
 *
 * Beware in kernels: Dawn 0.6.2 on Vulkan clears `var x: T;` once, not at every turn of the loop it is declared in, as WGSL
 * demands. A variable that is read before it is written wants its zero written out.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../../errors.js';

/** Numbers become u32 (or f32 through `f32()`), booleans bool, strings the name of a type. */
export type Constant = number | boolean | string | Float;
export type Constants = Readonly<Record<string, Constant>>;

/** Marks a number as f32 where a bare number would mean u32. */
export class Float {
  constructor(readonly value: number) {}
}
export function f32(value: number): Float {
  return new Float(value);
}

export interface BindingDeclaration {
  name: string;
  kind: 'read' | 'read_write' | 'uniform';
}

export interface ParamField {
  name: string;
  kind: 'u32' | 'i32' | 'f32';
}

/** A kernel's WGSL, ready to compile. */
export interface Source {
  readonly file: string;
  readonly text: string;
  /** Storage bindings by binding number, without the uniform. */
  readonly bindings: readonly BindingDeclaration[];
  /** Binding number of the uniform struct, or −1. */
  readonly uniform: number;
  /** Fields of `struct Params`, in order; every field is one 32-bit word. */
  readonly params: readonly ParamField[];
  /** Where line `line` (1-based) of `text` came from. */
  origin(line: number): { file: string; line: number };
}

interface Line {
  text: string;
  file: string;
  line: number;
}

const files = new Map<string, string>();

function load(name: string): string {
  let text = files.get(name);
  if (text === undefined) {
    const path = fileURLToPath(new URL(`../../kernels/${name}.wgsl`, import.meta.url));
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new EngineError({
        code: 'KERNEL_MISSING',
        message: `the kernel ${name}.wgsl could not be read`,
        where: { file: path },
        fix: 'build again; the build copies *.wgsl beside the code',
        cause,
      });
    }
    files.set(name, text);
  }
  return text;
}

/** Puts WGSL text under a kernel name, as if it were a file: for tests and for code that generates kernels. */
export function defineSource(name: string, text: string): void {
  files.set(name, text);
}

/** Formats a number as an f32 literal. WGSL has no literal for infinities and NaN. */
function floatLiteral(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be a WGSL constant`);
  const rounded = Math.fround(value);
  return `${Number.isInteger(rounded) && Math.abs(rounded) < 1e15 ? rounded.toFixed(1) : String(rounded)}f`;
}

function declare(name: string, value: Constant): string {
  if (value instanceof Float) return `const ${name}: f32 = ${floatLiteral(value.value)};`;
  if (typeof value === 'boolean') return `const ${name}: bool = ${value};`;
  if (typeof value === 'string') return `alias ${name} = ${value};`;
  if (!Number.isInteger(value) || value < 0) throw new RangeError(`constant ${name} = ${value} is no u32`);
  return `const ${name}: u32 = ${value}u;`;
}

/** Replaces `//#include` lines by the file they name; a snippet is taken once with the same words, however often it is named. */
function include(name: string, seen: Set<string>, words: readonly string[] = []): Line[] {
  const lines: Line[] = [];
  load(name)
    .split('\n')
    .forEach((raw, index) => {
      const text = raw.replace(/\$(\d)/g, (_, n) => words[Number(n) - 1] ?? `$${n}`);
      const match = /^\s*\/\/#include\s+(\S.*?)\s*$/.exec(text);
      if (!match) lines.push({ text, file: `${name}.wgsl`, line: index + 1 });
      else if (!seen.has(match[1])) {
        seen.add(match[1]);
        const [snippet, ...its] = match[1].split(/\s+/);
        lines.push(...include(`include/${snippet}`, seen, its));
      }
    });
  return lines;
}

/** Unrolls `//#repeat` blocks and takes one side of `//#if` blocks. */
function expand(lines: Line[], constants: Constants): Line[] {
  const out: Line[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    const match = /^\s*\/\/#(repeat|if)\s+(.*?)\s*$/.exec(line.text);
    if (!match) {
      out.push(line);
      continue;
    }
    const wrong = (message: string) => new SyntaxError(`${line.file}:${line.line}: ${message}`);
    const constant = (word: string): Constant => {
      if (/^\d+$/.test(word)) return Number(word);
      if (!(word in constants)) throw wrong(`${word} is no constant`);
      return constants[word];
    };
    let depth = 1;
    let middle = -1;
    let end = i + 1;
    for (; end < lines.length; end++) {
      const { text } = lines[end];
      if (/^\s*\/\/#(repeat|if)\b/.test(text)) depth++;
      else if (/^\s*\/\/#else\b/.test(text) && depth === 1) middle = end;
      else if (/^\s*\/\/#end\b/.test(text) && --depth === 0) break;
    }
    if (depth !== 0) throw wrong(`//#${match[1]} without //#end`);
    const words = match[2].split(/\s+/);
    if (match[1] === 'if') {
      const chosen = constant(words[0])
        ? lines.slice(i + 1, middle < 0 ? end : middle)
        : middle < 0
          ? []
          : lines.slice(middle + 1, end);
      out.push(...expand(chosen, constants));
    } else {
      const [name, from, to] = words;
      // A digit may follow: another loop's number that was filled in before.
      const index = new RegExp(`\\$${name}(?![A-Za-z_])`, 'g');
      const body = lines.slice(i + 1, end);
      for (let n = Number(constant(from)); n < Number(constant(to)); n++) {
        const numbered = body.map((each) => ({ ...each, text: each.text.replace(index, `${n}`) }));
        out.push(...expand(numbered, constants));
      }
    }
    i = end;
  }
  return out;
}

const BINDING =
  /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(storage|uniform)\s*(?:,\s*(read|read_write)\s*)?>\s*(\w+)\s*:/;

/**
 * Completes a kernel: includes, loops, constants, directives first (WGSL wants them there). `aliases` maps a binding's
 * name to another's that holds the same buffer: WebGPU forbids to bind a buffer twice when one binding writes, so the
 * first name is replaced by the second, which then reads and writes.
 */
export function completeSource(
  kernel: string,
  constants: Constants,
  aliases: Readonly<Record<string, string>>,
): Source {
  const body = expand(include(kernel, new Set()), constants);
  const directives: Line[] = [];
  const rest: Line[] = [];
  for (const line of body) (/^\s*(enable|requires|diagnostic)\b.*;/.test(line.text) ? directives : rest).push(line);
  const prelude: Line[] = [];
  const generated = (text: string): Line => ({ text, file: `${kernel}.wgsl (constants)`, line: 1 });
  const hasF16 = directives.some((line) => /enable\b.*\bf16\b/.test(line.text));
  if (!hasF16 && Object.values(constants).some((value) => typeof value === 'string' && /\bf16\b/.test(value)))
    prelude.push(generated('enable f16;'));
  prelude.push(...directives);
  for (const [name, value] of Object.entries(constants)) prelude.push(generated(declare(name, value)));

  const bindings: BindingDeclaration[] = [];
  let uniform = -1;
  const written = new Set(Object.values(aliases));
  const renamed: Line[] = [];
  let next = 0;
  for (const line of rest) {
    const match = BINDING.exec(line.text);
    if (!match) {
      renamed.push(line);
      continue;
    }
    const name = match[4];
    if (name in aliases) continue;
    const kind =
      match[2] === 'uniform'
        ? 'uniform'
        : written.has(name)
          ? 'read_write'
          : ((match[3] as 'read' | 'read_write') ?? 'read');
    const number = next++;
    if (kind === 'uniform') uniform = number;
    else bindings.push({ name, kind });
    const access = kind === 'uniform' ? 'var<uniform>' : `var<storage, ${kind}>`;
    renamed.push({
      ...line,
      text: line.text.replace(/@binding\(\d+\)/, `@binding(${number})`).replace(/var<[^>]*>/, access),
    });
  }
  for (const [from, to] of Object.entries(aliases)) {
    const word = new RegExp(`\\b${from}\\b`, 'g');
    for (const line of renamed) if (line.text.includes(from)) line.text = line.text.replace(word, to);
  }
  if (uniform >= 0 && uniform !== bindings.length) {
    throw new SyntaxError(`${kernel}.wgsl: the uniform must be the last binding`);
  }
  const lines = [...prelude, ...renamed];
  return {
    file: `${kernel}.wgsl`,
    text: lines.map((line) => line.text).join('\n'),
    bindings,
    uniform,
    params: paramFields(kernel, lines),
    origin: (line) => lines[line - 1] ?? { file: `${kernel}.wgsl`, line },
  };
}

function paramFields(kernel: string, lines: readonly Line[]): ParamField[] {
  const start = lines.findIndex((line) => /^\s*struct\s+Params\b/.test(line.text));
  if (start < 0) return [];
  let text = '';
  for (let i = start; i < lines.length; i++) {
    text += `${lines[i].text.replace(/\/\/.*/, '')}\n`;
    if (text.includes('}')) break;
  }
  const inside = text.slice(text.indexOf('{') + 1, text.indexOf('}'));
  return inside
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      const match = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(part);
      if (!match) throw new SyntaxError(`${kernel}.wgsl: Params field "${part}" is no u32, i32 or f32`);
      return { name: match[1], kind: match[2] as ParamField['kind'] };
    });
}
